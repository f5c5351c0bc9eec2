"""The pages. A view is a form, one question to the model, and named outcomes."""
