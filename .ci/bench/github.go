package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/registry/github/githubtest"
)

// standIn is what the fake GitHub needs of a test.
type standIn struct {
	testing.TB
	dir  string
	ends []func()
	errs []error
}

func (s *standIn) Helper()                   {}
func (s *standIn) TempDir() string           { return s.dir }
func (s *standIn) Cleanup(f func())          { s.ends = append(s.ends, f) }
func (s *standIn) Output() io.Writer         { return os.Stderr }
func (s *standIn) Logf(string, ...any)       {}
func (s *standIn) Errorf(f string, a ...any) { s.errs = append(s.errs, fmt.Errorf(f, a...)) }
func (s *standIn) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (s *standIn) Fatal(a ...any)            { panic(fmt.Sprint(a...)) }

// github measures a large registry on the fake GitHub. What the fake itself
// takes to answer, with git processes of its own, is in the times.
func (b *bench) github() error {
	if err := b.aside("registry")(); err != nil {
		return err
	}
	if err := os.Mkdir(b.path("hub"), 0o755); err != nil {
		return err
	}
	tb := &standIn{dir: b.path("hub")}
	defer func() {
		for _, end := range slices.Backward(tb.ends) {
			end()
		}
	}()
	s := githubtest.New(tb)
	s.Token("token", "github-actions[bot]", "write", "bench/registry")
	repo := s.Repo("bench", "registry")
	defer func(env []string) { b.env = env }(b.env)
	b.env = append(slices.Clone(b.env), "GITHUB_API_URL="+s.URL, "GITHUB_TOKEN=token",
		"GIT_AUTHOR_NAME=b", "GIT_AUTHOR_EMAIL=b@example.com", "GIT_COMMITTER_NAME=b", "GIT_COMMITTER_EMAIL=b@example.com")
	what, err := b.pushed(repo)
	if err != nil {
		return err
	}
	if err := b.pullRequest(s, repo, what); err != nil {
		return err
	}
	if err := b.remotePlan(s, what); err != nil {
		return err
	}
	return errors.Join(append(tb.errs, b.search(what))...)
}

// pushed pushes a registry and its index, and says how large it is.
func (b *bench) pushed(repo *githubtest.Repo) (string, error) {
	modules := b.size(1250, 50)
	versions, err := b.registryOf(modules)
	if err != nil {
		return "", err
	}
	err = b.write("registry/registry.yaml", "apiVersion: modyard.dev/v1\nkind: Registry\nname: bench\nindex: gh-pages\nsource: https://github.com/bench/registry\n")
	if err != nil {
		return "", err
	}
	commit := func(dir, branch string) [][]string {
		return [][]string{
			{"git", "init", "-q", "-b", "main", dir}, {"git", "-C", dir, "add", "-A"}, {"git", "-C", dir, "commit", "-q", "-m", "all"},
			{"git", "-C", dir, "remote", "add", "origin", "file://" + repo.Dir}, {"git", "-C", dir, "push", "-q", "origin", "main:" + branch},
		}
	}
	index := []string{b.exe, "-C", "registry", "index", "--out", b.path("site")}
	for _, args := range slices.Concat(commit("registry", "main"), [][]string{index}, commit("site", "gh-pages")) {
		if _, err := b.cmd(args[0], args[1:]...); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d modules, %d versions on GitHub", modules, versions), nil
}

// pullRequest checks a pull request with one new version.
func (b *bench) pullRequest(s *githubtest.Server, repo *githubtest.Repo, what string) error {
	for _, args := range [][]string{
		{"git", "-C", "registry", "checkout", "-q", "-b", "topic"},
		{b.exe, "-C", "registry", "new", "version", "m7", "--bump", "minor"},
		{"git", "-C", "registry", "add", "-A"}, {"git", "-C", "registry", "commit", "-q", "-m", "one"}, {"git", "-C", "registry", "push", "-q", "origin", "topic"},
	} {
		if _, err := b.cmd(args[0], args[1:]...); err != nil {
			return err
		}
	}
	pull := repo.OpenPull("topic", "main", "One", "alice")
	event, err := json.Marshal(map[string]any{
		"number": pull.Number, "repository": map[string]any{"full_name": "bench/registry", "default_branch": "main"},
		"pull_request": map[string]any{"number": pull.Number, "base": map[string]any{"sha": pull.BaseSHA}},
	})
	if err != nil {
		return err
	}
	if err := b.write("event.json", string(event)); err != nil {
		return err
	}
	most := 0 // the first writes the comment
	count := func() error {
		most = max(most, len(s.Requests()))
		s.Forget()
		return nil
	}
	s.Forget()
	u, err := b.best(5, count, b.exe, "check", "registry", "--event", "event.json")
	if err := cmp.Or(err, count()); err != nil {
		return err
	}
	b.row("check of a pull request, one new version, "+what, fmt.Sprintf("%s, requests: %d", ms(u.wall), most), "", "", "≤ 1 s, ≤ 10")
	return nil
}

// remotePlan plans ten steps of ten modules.
func (b *bench) remotePlan(s *githubtest.Server, what string) error {
	var p strings.Builder
	p.WriteString("apiVersion: modyard.dev/v1\nkind: Pipeline\nname: ten\nregistries: {bench: github.com/bench/registry@main}\ninputs: {data: {type: file, format: csv, path: event.json}}\nsteps:\n")
	for i := range 10 {
		fmt.Fprintf(&p, "  s%d: {module: bench/m%d@^1, inputs: {data: \"${{ inputs.data }}\"}}\n", i, 3*i)
	}
	if err := b.write("ten.yaml", p.String()); err != nil {
		return err
	}
	for _, c := range []struct {
		name, goal string
		before     func() error
	}{
		{"nothing cached", "≤ 25", b.aside("store", "store-registries")},
		{"cached and unchanged", "1", nil},
	} {
		u, err := b.best(3, func() error {
			s.Forget()
			if c.before != nil {
				return c.before()
			}
			return nil
		}, b.exe, "plan", "ten.yaml")
		if err != nil {
			return err
		}
		b.row("plan of 10 steps, "+c.name+", "+what, fmt.Sprintf("%s, requests: %d", ms(u.wall), len(s.Requests())), "", "", c.goal)
	}
	return nil
}

// search measures the search file, and a query that finds it on this disk.
func (b *bench) search(what string) error {
	data, err := os.ReadFile(b.path("site/" + registry.SearchFile))
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(data); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	query := []string{"search", "m7", "--registry", "github.com/bench/registry"}
	if _, err := b.cmd(b.exe, append(query, "--json")...); err != nil {
		return err
	}
	u, err := b.best(5, nil, b.exe, append([]string{"--offline"}, query...)...)
	if err != nil {
		return err
	}
	start, err := b.best(5, nil, b.exe, "version")
	if err != nil {
		return err
	}
	b.row("search beyond start-up, "+what, fmt.Sprintf("%s, a file of %d KB gzipped", ms(u.wall-start.wall), packed.Len()>>10), "", "", "≤ 50 ms, ≤ 1 MB")
	return nil
}
