//go:build unix

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modyard/modyard/registry/github/githubtest"
)

// hub is a registry on a fake GitHub, a clone of it, and act, which runs its
// workflows with our real action.
type hub struct {
	s     *githubtest.Server
	repo  *githubtest.Repo
	w     *world
	clone string
}

// newHub makes the registry, as `modyard init --github` does, and pushes it.
func newHub(t *testing.T, settings string) *hub {
	w := newWorld(t)
	h := &hub{s: githubtest.New(t), w: w, clone: w.reg}
	h.s.Token("write-token", "github-actions[bot]", "write", "acme/modules")
	h.s.Token("read-token", "github-actions[bot]", "read", "acme/modules")
	h.s.Token("alice-token", "alice", "write", "acme/modules")
	h.repo = h.s.Repo("acme", "modules")
	w.run(t, w.reg, "git", "symbolic-ref", "HEAD", "refs/heads/main")
	w.run(t, w.reg, "modyard", "init", "--github", ".")
	h.append(t, "registry.yaml", settings)
	w.run(t, w.reg, "modyard", "check", "--fix")
	h.commit(t, "first")
	w.run(t, w.reg, "git", "remote", "add", "origin", "file://"+h.repo.Dir)
	h.push(t, "main")
	return h
}

func (h *hub) append(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(h.clone, name)), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(h.clone, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func (h *hub) commit(t *testing.T, message string) {
	t.Helper()
	h.w.run(t, h.clone, "git", "add", "-A")
	h.w.run(t, h.clone, "git", "commit", "-q", "-m", message)
}

func (h *hub) push(t *testing.T, refs ...string) {
	t.Helper()
	h.w.run(t, h.clone, "git", append([]string{"push", "-q", "-f", "origin"}, refs...)...)
}

func (h *hub) head(t *testing.T, ref string) string {
	t.Helper()
	return strings.TrimSpace(h.w.run(t, h.clone, "git", "rev-parse", ref))
}

// payload is a real event of GitHub, made one of this repository.
func (h *hub) payload(t *testing.T, file string, change func(e map[string]any)) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "github", file))
	if err != nil {
		t.Fatal(err)
	}
	var e map[string]any
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatal(err)
	}
	repo := e["repository"].(map[string]any)
	repo["full_name"], repo["name"], repo["default_branch"] = "acme/modules", "modules", "main"
	change(e)
	if data, err = json.Marshal(e); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(out, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return out
}

// pullRequest is the event of a pull request of what is checked out.
func (h *hub) pullRequest(t *testing.T, number int, change func(e map[string]any)) string {
	t.Helper()
	return h.payload(t, "pull_request.json", func(e map[string]any) {
		pull := e["pull_request"].(map[string]any)
		e["number"], pull["number"] = number, number
		pull["title"] = evil
		pull["body"] = evil
		pull["base"].(map[string]any)["sha"], pull["base"].(map[string]any)["ref"] = h.head(t, "origin/main"), "main"
		pull["head"].(map[string]any)["sha"] = h.head(t, "HEAD")
		pull["head"].(map[string]any)["ref"] = evil
		if change != nil {
			change(e)
		}
	})
}

// evil is what somebody could write into any text.
const evil = "x\n::error::forged%0A::set-output name=verdict::good `touch pwned` $(touch pwned) ${{ github.token }} <img src=x> @acme/owners #1"

// acted is what a run of act has printed.
type acted struct {
	good    bool
	lines   []string          // of jobs
	outputs map[string]string // of steps, the last one that is not empty
	summary string
}

// String is the end of what was printed.
func (r *acted) String() string {
	return fmt.Sprintf("good %v, outputs %v\n%s", r.good, r.outputs, strings.Join(r.lines[max(0, len(r.lines)-60):], "\n"))
}

func (r *acted) has(text string) bool {
	for _, l := range r.lines {
		if strings.Contains(l, text) {
			return true
		}
	}
	return false
}

// act runs the workflows for an event.
func (h *hub) act(t *testing.T, event, file, token string) *acted {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	stub := filepath.Join(h.w.dir, "stub")
	if err := os.MkdirAll(stub, 0o755); err != nil {
		t.Fatal(err)
	}
	// Go is here: the action that would bring it does nothing.
	text := "name: stub\ndescription: stub\ninputs: {go-version-file: {description: x}, cache-dependency-path: {description: x}}\nruns: {using: composite, steps: [{shell: bash, run: 'true'}]}\n"
	if err := os.WriteFile(filepath.Join(stub, "action.yml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("act", event, "-P", "ubuntu-latest=-self-hosted", "-e", file, "--no-cache-server", "--action-cache-path", filepath.Join(h.w.dir, "cache"),
		"--local-repository", "modyard/modyard@main="+root, "--local-repository", "actions/setup-go@d35c59abb061a4a6fb18e82ac0862c26744d6ab5="+stub,
		"--env", "GITHUB_API_URL="+h.s.URL, "--env", "GITHUB_REPOSITORY=acme/modules", "--env", "MODYARD_STORE="+filepath.Join(h.w.dir, "store"),
		"--env", "DOCKER_CONFIG="+h.w.dir, "-s", "GITHUB_TOKEN="+token, "--json")
	cmd.Dir = h.clone
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "XDG_CONFIG_HOME="+filepath.Join(h.w.dir, "home"))
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	err = cmd.Run()
	r := &acted{good: err == nil, outputs: map[string]string{}}
	lines := bufio.NewScanner(&stdout)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var l struct {
			Msg, Command, Name, Arg, Content string
			RawOutput                        bool `json:"raw_output"`
		}
		if json.Unmarshal(lines.Bytes(), &l) != nil {
			continue
		}
		r.lines = append(r.lines, strings.TrimSpace(l.Msg))
		switch {
		case l.Command == "set-output" && l.Arg != "":
			r.outputs[l.Name] = l.Arg
		case l.Command == "summary":
			r.summary = l.Content
		}
	}
	for _, secret := range []string{"write-token", "read-token"} {
		if strings.Contains(stdout.String(), secret) {
			t.Errorf("%s is in what was printed", secret)
		}
	}
	if _, err := os.Stat(filepath.Join(h.clone, "pwned")); err == nil {
		t.Error("a text was executed")
	}
	return r
}

func (h *hub) ours(number int) (out []string) {
	for _, c := range h.repo.Comments(number) {
		if c.Author == "github-actions[bot]" {
			out = append(out, c.Body)
		}
	}
	return out
}

// TestActionPullRequest runs the real action, by act, on pull requests.
func TestActionPullRequest(t *testing.T) {
	need(t, "act")
	t.Parallel()
	h := newHub(t, "")
	w := h.w
	w.run(t, h.clone, "git", "checkout", "-q", "-b", "topic")
	// A published version is changed: problems, on its lines and in a comment.
	file := "modules/word-count/versions/1.0.0.yaml"
	h.append(t, file, "# changed\n")
	h.commit(t, evil)
	h.push(t, "topic")
	number := h.repo.OpenPull("topic", "main", "Change", "alice").Number
	r := h.act(t, "pull_request", h.pullRequest(t, number, nil), "write-token")
	if r.good || r.outputs["verdict"] != "problems" || r.outputs["run"] != "false" || !r.has("is published and was changed") {
		t.Fatalf("bad: %s", r)
	}
	if got := h.ours(number); len(got) != 1 || !strings.Contains(got[0], "there are problems") {
		t.Fatalf("bad: comments %q", got)
	}
	// It is put right, and a version is added: the same comment is edited, and
	// the version's tests run.
	w.run(t, h.clone, "git", "checkout", "-q", "origin/main", "--", file)
	w.run(t, h.clone, "modyard", "new", "version", "word-count", "--bump", "patch")
	h.commit(t, "fix")
	h.push(t, "topic")
	r = h.act(t, "pull_request", h.pullRequest(t, number, nil), "write-token")
	if !r.good || r.outputs["verdict"] != "good" || r.outputs["test"] != "word-count@1.0.1" || !r.has("ok    word-count@1.0.1  few-words") {
		t.Fatalf("fixed: %s", r)
	}
	if got := h.ours(number); len(got) != 1 || !strings.Contains(got[0], "modyard: good") || !strings.Contains(got[0], "word-count&#64;") {
		t.Fatalf("fixed: comments %q", got)
	}
	// From a fork the token reads alone: no comment, the summary has it all.
	h.push(t, "HEAD:refs/heads/fork")
	fork := h.repo.OpenPull("fork", "main", "Change", "bob").Number
	r = h.act(t, "pull_request", h.pullRequest(t, fork, nil), "read-token")
	if !r.good || !r.has("note: no comment") || !strings.Contains(r.summary, "modyard: good") || len(h.ours(fork)) > 0 {
		t.Fatalf("fork: %s", r)
	}
	// What a maintainer must look at is not run before the label is given.
	h.append(t, "modules/evil/module.yaml", "apiVersion: modyard.dev/v1\nkind: Module\nname: evil\ndescription: "+strings.ReplaceAll(jsonText(evil), "\n", " ")+"\n")
	h.append(t, "modules/evil/src/@acme `x` [a](b).txt", "x")
	h.append(t, "modules/evil/versions/1.0.0.yaml", "apiVersion: modyard.dev/v1\nkind: ModuleVersion\nmodule: evil\nversion: 1.0.0\ndescription: "+jsonText(evil)+"\nrun: {command: ['true'], network: true}\nsnapshot: {folder: ../src}\n")
	w.run(t, h.clone, "modyard", "check", "--fix")
	h.commit(t, "evil")
	h.push(t, "topic")
	r = h.act(t, "pull_request", h.pullRequest(t, number, nil), "write-token")
	if !r.good || r.outputs["verdict"] != "look" || r.outputs["run"] != "false" || r.has("few-words") {
		t.Fatalf("look: %s", r)
	}
	got := h.ours(number)
	if len(got) != 1 || !strings.Contains(got[0], "a maintainer must look") || !strings.Contains(got[0], "needs the network") {
		t.Fatalf("look: comments %q", got)
	}
	for _, bad := range []string{"@acme", "<img", "\n::error", "`x`", "](b)"} {
		if strings.Contains(got[0], bad) {
			t.Errorf("the comment has %q: %s", bad, got[0])
		}
	}
	r = h.act(t, "pull_request", h.pullRequest(t, number, func(e map[string]any) {
		e["action"], e["label"] = "labeled", map[string]any{"name": runLabel}
	}), "write-token")
	if !r.good || r.outputs["verdict"] != "look" || !r.has("ok    word-count@1.0.1  few-words") {
		t.Fatalf("labeled: %s", r)
	}
}

func jsonText(s string) string {
	data, _ := json.Marshal(s)
	return string(data)
}

// TestActionPublish runs the real action, by act, on tags and pushes.
func TestActionPublish(t *testing.T) {
	need(t, "act")
	t.Parallel()
	host := imageHost(t)
	h := newHub(t, "images: "+host+"/acme\n")
	w := h.w
	tagged := func(tag string) string {
		return h.payload(t, "push.json", func(e map[string]any) {
			e["ref"], e["before"], e["after"] = "refs/tags/"+tag, noCommit, h.head(t, tag)
		})
	}
	// A tag that nobody has merged publishes nothing.
	w.run(t, h.clone, "git", "checkout", "-q", "-b", "topic")
	w.run(t, h.clone, "modyard", "new", "version", "word-count", "--bump", "patch")
	h.commit(t, "not merged")
	w.run(t, h.clone, "git", "tag", "word-count/v1.0.1")
	h.push(t, "word-count/v1.0.1")
	r := h.act(t, "push", tagged("word-count/v1.0.1"), "write-token")
	if r.good || !r.has("which is not on the branch main") || len(h.repo.Releases()) > 0 {
		t.Fatalf("not merged: %s", r)
	}
	h.push(t, ":word-count/v1.0.1")
	w.run(t, h.clone, "git", "tag", "-d", "word-count/v1.0.1")
	// A tag on the default branch publishes its version, once.
	w.run(t, h.clone, "git", "checkout", "-q", "main")
	w.run(t, h.clone, "git", "tag", "word-count/v1.0.0")
	h.push(t, "word-count/v1.0.0")
	for range 2 {
		r = h.act(t, "push", tagged("word-count/v1.0.0"), "write-token")
		if !r.good || r.outputs["published"] != host+"/acme/word-count:1.0.0" || !strings.HasPrefix(r.outputs["digests"], "sha256:") {
			t.Fatalf("a tag: %s", r)
		}
	}
	list := h.repo.Releases()
	if len(list) != 1 || list[0].Tag != "word-count/v1.0.0" || !strings.Contains(list[0].Body, "acme/word-count@1.0.0") || !strings.Contains(list[0].Body, strings.TrimPrefix(r.outputs["digests"], "sha256:")) {
		t.Fatalf("releases %+v", list)
	}
	w.run(t, h.clone, "modyard", "verify", "word-count")
	// A push to the default branch publishes what it adds, and makes the tag.
	before := h.head(t, "main")
	w.run(t, h.clone, "git", "merge", "-q", "--no-ff", "-m", "merge", "topic")
	h.push(t, "main")
	r = h.act(t, "push", h.payload(t, "push.json", func(e map[string]any) {
		e["ref"], e["before"], e["after"] = "refs/heads/main", before, h.head(t, "main")
	}), "write-token")
	if !r.good || r.outputs["published"] != host+"/acme/word-count:1.0.1" || len(h.repo.Releases()) != 2 {
		t.Fatalf("a push: %s", r)
	}
	if at := strings.TrimSpace(h.repo.Git("rev-parse", "word-count/v1.0.1")); at != h.head(t, "main") {
		t.Errorf("the tag is on %s, not on the merge %s", at, h.head(t, "main"))
	}
}
