// Package githubtest is a GitHub for tests. Its repositories are real bare git
// repositories: what the API writes git can read, and what git pushes the API
// shows. Every request and every answer is checked against GitHub's own
// OpenAPI description, and a test fails on what GitHub would not understand
// or would not say.
//
// Texts of errors are GitHub's as far as they are known. A pull request is the
// only kind of issue here.
package githubtest
