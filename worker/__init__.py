"""What runs: beat and worker, and the faces for people and programs: cli, web, embedded, demo."""
