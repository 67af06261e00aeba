//! What can be known to fail before anything is written: privileges, extensions, objects that exist, the server.
