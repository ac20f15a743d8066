"""The work of `evergrant grants import`: a file is read line by line, and stored by the thousand."""
