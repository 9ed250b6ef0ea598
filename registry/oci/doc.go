// Package oci publishes module versions as OCI images, without a container
// engine, and takes their snapshots out of them again.
//
// A version's image is the base image that it names, if any, and one layer with
// its snapshot, whose diff_id is the snapshot's digest. The version's file is a
// label of the image. The same version gives the same image digest on every
// machine: times are the version's, and the compressor is a pinned module.
//
// Start with [New], then [Client.Build] and [Client.Publish], or
// [Client.Snapshot]. A registry is untrusted: what comes from it is to be
// compared with the digest that git has.
package oci
