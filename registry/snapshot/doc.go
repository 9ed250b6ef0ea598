// Package snapshot makes the canonical tree of a folder and its digest, the
// same on every machine.
//
// A tree is a tar archive of regular files alone: mode 0755, mtime, uid and
// gid 0, empty folders dropped, names in Unicode's NFC that begin with
// "modyard/snapshot/" and are sorted by their bytes; USTAR headers, with PAX
// records "path" and "size" only where USTAR cannot hold a value. The sha256
// of the archive's bytes is the tree's digest. testdata/vectors.txt has
// examples.
//
// Start with [Folder] for a snapshot's working folder, [Data] for a folder of
// data, [Commit] for a folder in git; then [Tree.Digest] or [Tree.Unpack].
package snapshot
