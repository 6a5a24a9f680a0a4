"""What the service gave: proved, kept, and what stands for it in tests."""
