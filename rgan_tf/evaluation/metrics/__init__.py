"""Every score and what it is made of: each file is one question, its formula and its averages."""
