"""The patients of a study: manifest, expansion, predictors, published scores."""
