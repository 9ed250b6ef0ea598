// Package store keeps the results of tasks by their key, and the bytes of
// their outputs by their content.
//
//	objects/ab/<digest>      the content of a file
//	objects/ab/<digest>.d/   the files of a folder (a canonical tree)
//	results/ab/<key>…        what a task gave: its outputs by digest
//	keys/ab/<key>            the document that the key is the digest of
//	hashes/ab/<stat>         digests of files outside, by what stat says of them
//	envs/<digest>/           virtual environments
//	locks/, tmp/             of running runs
//
// Objects are committed by rename, results after their objects, so that a
// crash at any moment leaves the store whole. Every object has one fixed
// modification time: one that has another was touched, and is rehashed before
// use.
package store
