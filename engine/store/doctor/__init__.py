"""What `nearfield doctor` asks of the database, and ids stored before they had one form."""
