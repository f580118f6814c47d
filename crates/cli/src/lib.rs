//! The commands that administer a node: the same verbs, flags, outputs and exit codes that scripts know.
