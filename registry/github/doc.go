// Package github reads registries from GitHub and writes to it what a registry
// needs there: comments, tags, releases, pull requests. It speaks to GitHub's
// REST API alone. Start with [New], then [Client.At] for a registry.
package github
