"""What stands behind the sign-in is up to you: begin with board/, and docs/your-pages.md."""
