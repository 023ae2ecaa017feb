"""What an import tells: rejected rows with reasons, the summary, words for kinds, users who were erased."""
