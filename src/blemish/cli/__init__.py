"""The command line: thin verbs over public names."""
