"""HTTP: three thin surfaces over one kind of run."""
