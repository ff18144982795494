//! What others have written reads what is posted. Skipped where it is not installed.
