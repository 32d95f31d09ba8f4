"""Routes of files: uploading, listing, changing and downloading them."""
