"""What a mount shows: unions of archives, and the numbers by which the kernel knows them."""
