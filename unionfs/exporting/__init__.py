"""Views for places without pkgview: directories, tar files, images. docs/export.md."""
