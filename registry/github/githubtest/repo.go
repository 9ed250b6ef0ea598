package githubtest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Repo is a repository. Its fields may be set before it is asked for.
type Repo struct {
	Owner, Name   string
	Dir           string // the bare git repository
	Private       bool
	DefaultBranch string

	s             *Server
	id            int
	created       time.Time
	parent        *Repo             // of a fork
	head          string            // the branch HEAD names
	begun         bool              // had a ref once
	collaborators map[string]string // permissions by login in lower case
	pulls         []*Pull
	comments      []*Comment
	releases      []*Release
	numbers       int // of pull requests
}

// FullName is "owner/name".
func (r *Repo) FullName() string { return r.Owner + "/" + r.Name }

// CloneURL is where git finds the repository.
func (r *Repo) CloneURL() string { return r.s.URL + "/" + r.FullName() + ".git" }

// newRepo makes a repository. A fork shares the objects of its parent, and
// the parent the fork's: on GitHub, too, a commit of the one is found in the
// other.
func (s *Server) newRepo(owner, name string, parent *Repo) (*Repo, error) {
	r := &Repo{
		Owner: owner, Name: name, Dir: filepath.Join(s.root, owner, name+".git"), DefaultBranch: "main",
		s: s, id: s.id(), created: now(), parent: parent, collaborators: map[string]string{},
	}
	s.userID(owner)
	if err := os.MkdirAll(filepath.Dir(r.Dir), 0o755); err != nil {
		return nil, err
	}
	args := []string{"init", "-q", "--bare", "--template=", "-b", "main", r.Dir}
	if parent != nil {
		r.DefaultBranch, r.Private = parent.DefaultBranch, parent.Private
		args = []string{"clone", "-q", "--bare", "--shared", "--template=", parent.Dir, r.Dir}
	}
	if _, err := gitIn(s.root, nil, args...); err != nil {
		return nil, err
	}
	if err := r.configure(); err != nil {
		return nil, err
	}
	if parent != nil {
		if err := parent.borrow(r); err != nil {
			return nil, err
		}
	}
	s.repos[strings.ToLower(owner+"/"+name)] = r
	return r, nil
}

// configure allows what GitHub does, and keeps git from work in the background.
func (r *Repo) configure() error {
	config := `[uploadpack]
	allowFilter = true
	allowAnySHA1InWant = true
[http]
	receivepack = true
[receive]
	autogc = false
[gc]
	auto = 0
[maintenance]
	auto = false
`
	f, err := os.OpenFile(filepath.Join(r.Dir, "config"), os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(config)
	return errors.Join(err, f.Close())
}

func (r *Repo) borrow(other *Repo) error {
	file := filepath.Join(r.Dir, "objects", "info", "alternates")
	have, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(have, filepath.Join(other.Dir, "objects")+"\n"...), 0o644)
}

// Collaborator gives login a permission: admin, maintain, write, triage, read
// or none. The owner has admin, and whoever else may see the repository read.
func (r *Repo) Collaborator(login, permission string) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.s.userID(login)
	r.collaborators[strings.ToLower(login)] = permission
}

// Git runs git in the bare repository and returns what it says, trimmed. The
// test fails when git does.
func (r *Repo) Git(args ...string) string {
	r.s.tb.Helper()
	out, err := r.try(nil, args...)
	if err != nil {
		r.s.tb.Fatal(err)
	}
	return out
}

// Commit writes files (path to content) over what branch has, commits them
// and returns the commit. A new branch
// starts at the default one.
func (r *Repo) Commit(branch, message string, files map[string]string) string {
	r.s.tb.Helper()
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	sha, err := r.commit(branch, message, files)
	if err != nil {
		r.s.tb.Fatal(err)
	}
	return sha
}

func (r *Repo) commit(branch, message string, files map[string]string) (string, error) {
	parent := cmp.Or(r.ref("refs/heads/"+branch), r.ref("refs/heads/"+r.DefaultBranch))
	var entries []entry
	for path, content := range files {
		entries = append(entries, entry{Path: path, Mode: "100644", Type: "blob", Content: &content})
	}
	base := ""
	commit := commitRequest{Message: message, Parents: []string{}}
	if parent != "" {
		base, commit.Parents = parent+"^{tree}", []string{parent}
	}
	var err error
	if commit.Tree, err = r.writeTree(base, entries); err != nil {
		return "", err
	}
	sha, err := r.writeCommit(commit, signature{"octocat", "octocat@example.com", now()})
	if err != nil {
		return "", err
	}
	_, err = r.try(nil, "update-ref", "refs/heads/"+branch, sha)
	return sha, err
}

// try runs git in the repository, trimming one newline at the end.
func (r *Repo) try(stdin []byte, args ...string) (string, error) {
	out, err := gitIn(r.Dir, stdin, args...)
	return strings.TrimSuffix(string(out), "\n"), err
}

// lines is try for lists that end in NUL.
func (r *Repo) lines(args ...string) ([]string, error) {
	out, err := gitIn(r.Dir, nil, args...)
	fields := strings.Split(string(out), "\x00")
	return fields[:len(fields)-1], err
}

func gitIn(dir string, stdin []byte, args ...string) ([]byte, error) {
	cmd := command(dir, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	return output(cmd)
}

func command(dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.Background(), "git", args...) //nolint:forbidigo // ends by itself
	cmd.Dir, cmd.Env = dir, gitEnv()
	return cmd
}

func output(cmd *exec.Cmd) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}

// gitEnv is apart from the settings of whoever runs the tests.
func gitEnv() []string {
	env := slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "GIT_") })
	return append(env, "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=octocat", "GIT_AUTHOR_EMAIL=octocat@example.com", "GIT_COMMITTER_NAME=octocat", "GIT_COMMITTER_EMAIL=octocat@example.com")
}

// resolve finds an object by git's words: "" when there is none.
func (r *Repo) resolve(rev string) string {
	sha, err := r.try(nil, "rev-parse", "-q", "--verify", "--end-of-options", rev)
	if err != nil {
		return ""
	}
	return sha
}
