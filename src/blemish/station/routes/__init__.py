"""What the station answers: pages for people, the API for programs, files for both."""
