//! Loading as a whole: files, companions, checks.
