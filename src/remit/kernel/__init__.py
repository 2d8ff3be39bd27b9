"""The one gate to the kernel: ctypes, ioctl numbers and struct layouts live here and nowhere else, with no policy."""
