"""`tidegate dev`: a server, a board and the project's application on it, anew at every save."""
