"""From a model version to answers: searchers, recipes, generations, live views. FAISS is imported only in this
package.
"""
