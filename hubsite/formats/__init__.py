"""How the pages write dates: for reading events, which happen seconds apart."""
