"""What fits beside a solution say of its parameters: profiles, contours and the bootstrap."""
