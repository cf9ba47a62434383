"""What others keep in git: a commit, with as much of its repository as a build asks for."""
