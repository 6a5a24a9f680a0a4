"""Who asks: people who signed in, jobs and what vouches for them, and where a sign-in is kept."""
