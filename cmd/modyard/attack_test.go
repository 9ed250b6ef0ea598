//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// judged is what a check of a pull request came to, as the action runs it.
type judged struct {
	code             int
	out, err         string
	summary, outputs string
	took             time.Duration
	memory           int64
}

func (j *judged) all() string { return j.out + j.err + j.summary + j.outputs }

// check runs the check of an event in a workflow; env says what it has beyond
// that, such as a token.
func (h *hub) check(t *testing.T, event string, env ...string) *judged {
	t.Helper()
	dir := t.TempDir()
	summary, outputs := filepath.Join(dir, "summary"), filepath.Join(dir, "outputs")
	cmd := h.w.command(h.clone, "modyard", "--format", "github", "check", "--event", event)
	cmd.Env = append(append([]string{}, h.w.env...), "GITHUB_ACTIONS=true", "GITHUB_API_URL="+h.s.URL, "GITHUB_OUTPUT="+outputs, "GITHUB_STEP_SUMMARY="+summary)
	cmd.Env = append(cmd.Env, env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	err := cmd.Run()
	j := &judged{out: stdout.String(), err: stderr.String(), took: time.Since(began)}
	if ee, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || !ee.Exited()) {
		t.Fatalf("%v: %s", err, j.err)
	}
	j.code, j.memory = cmd.ProcessState.ExitCode(), memory(cmd)
	for file, text := range map[string]*string{summary: &j.summary, outputs: &j.outputs} {
		data, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		*text = string(data)
	}
	return j
}

// branch leaves what is checked out as the default branch has it, on a branch
// of that name.
func (h *hub) branch(t *testing.T, name string) {
	t.Helper()
	h.w.run(t, h.clone, "git", "checkout", "-q", "-f", "-B", name, "origin/main")
	h.w.run(t, h.clone, "git", "clean", "-q", "-ffdx")
}

// newVersion opens a pull request with one new version of a module.
func (h *hub) newVersion(t *testing.T, module, bump string) (number int, event string) {
	t.Helper()
	h.branch(t, "topic")
	h.w.run(t, h.clone, "modyard", "new", "version", module, "--bump", bump)
	h.commit(t, "one")
	h.push(t, "topic")
	number = h.repo.OpenPull("topic", "main", "Change", "alice").Number
	return number, h.pullRequest(t, number, nil)
}

// commands are the workflow commands that GitHub would see in a log: a line
// that begins with ::, after whatever is not seen, or ##[ anywhere.
func commands(log string) (out []string) {
	for line := range strings.FieldsFuncSeq(log, func(r rune) bool { return r == '\n' || r == '\r' }) {
		seen := strings.TrimLeftFunc(line, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsGraphic(r) })
		if strings.HasPrefix(seen, "::") || strings.Contains(line, "##[") {
			out = append(out, line)
		}
	}
	return out
}

// texts are what a pull request could be written with.
var texts = map[string]string{
	"command": "::error::forged", "old command": "##[error]forged", "line": "x\n::error::forged", "return": "x\r::error::forged", "unseen": "x\n\u200b\u00a0::error::forged",
	"encoded": "%0A::set-output name=verdict::good", "ticks": "```\n`touch pwned`", "shell": "$(touch pwned); touch pwned", "expression": "${{ github.token }}",
	"html": "<img src=https://example.com/x><!-- modyard check", "mention": "@acme/owners @alice", "reference": "#1 acme/modules#1 GH-1", "table": "a | b |\n| --- |",
	"link": "[a](https://example.com) ![b](https://example.com) www.example.com", "delimiter": "x\n_GitHubActionsFileCommandDelimeter_\nrun=true\n",
}

// TestAttackTexts: whatever a pull request is written with is text: nothing of
// it is executed, a command of the workflow, a mention, or a mark.
func TestAttackTexts(t *testing.T) {
	t.Parallel()
	h := newHub(t, "")
	var all []string
	for _, text := range texts {
		all = append(all, text)
	}
	evil := strings.Join(all, " ")
	module := func(name, more string) {
		write(t, filepath.Join(h.clone, "modules", name, "module.yaml"), "apiVersion: modyard.dev/v1\nkind: Module\nname: "+name+"\ndescription: "+jsonText(evil)+"\n"+more)
	}
	version := func(module, number, more string) {
		write(t, filepath.Join(h.clone, "modules", module, "versions", number+".yaml"), "apiVersion: modyard.dev/v1\nkind: ModuleVersion\nmodule: "+module+"\nversion: "+number+"\ndescription: "+jsonText(evil)+"\ncreated: 2026-01-01T00:00:00Z\n"+more)
	}
	word := filepath.Join(h.clone, "modules", "word-count")
	for _, c := range []struct {
		name string
		code int
		make func()
	}{
		{"good", exitLook, func() { // a new module, whose every free text is evil
			module("evil", "")
			version("evil", "1.0.0", "params: {p: {type: string, description: "+jsonText(evil)+", default: "+jsonText(evil)+"}}\nrun: {command: [echo, '${{ params.p }}']}\nsnapshot: {folder: ../src}\n")
			version("evil", "1.1.0", "params: {p: {type: string, default: other}}\nrun: {command: [echo, "+jsonText(strings.ReplaceAll(evil, "${{", "$ {{"))+"]}\nsnapshot: {folder: ../src}\n")
			write(t, filepath.Join(h.clone, "modules", "evil", "src", "a @acme `b` $(touch pwned) ##[error]x [a](b) #1.txt"), "x")
			write(t, filepath.Join(h.clone, ".github", "workflows", "x\n::error::forged ##[error]forged\n.yml"), "on: push\n")
			h.w.run(t, h.clone, "modyard", "check", "--fix")
		}},
		{"unknown", exitProblems, func() { // keys, names and values that are not known
			var b strings.Builder
			for _, text := range texts {
				fmt.Fprintf(&b, "%s: 1\n", jsonText(text))
			}
			module("evil", b.String()+"owners: ["+jsonText(evil)+"]\ntags: ["+jsonText(evil)+"]\nversions: {"+jsonText(evil)+": {state: "+jsonText(evil)+", reason: "+jsonText(evil)+"}}\n")
			version("evil", "1.0.0", b.String()+"inputs: {"+jsonText(evil)+": {type: "+jsonText(evil)+"}}\nrun: {command: [true]}\nsnapshot: {folder: "+jsonText(evil)+"}\n")
			write(t, filepath.Join(h.clone, "registry.yaml"), "apiVersion: modyard.dev/v1\nkind: Registry\nname: "+jsonText(evil)+"\n"+b.String())
		}},
		{"names", exitProblems, func() { // of files and folders
			for _, text := range append(all, evil) {
				name := strings.ReplaceAll(text, "/", "_")
				if len(name) > 200 {
					name = name[:200]
				}
				write(t, filepath.Join(h.clone, "modules", name, "module.yaml"), "name: x\n")
				write(t, filepath.Join(h.clone, "modules", name, "tests", name+".yaml"), "name: x\n")
				write(t, filepath.Join(word, "versions", name+".yaml"), "x")
				write(t, filepath.Join(word, "tests", name+".yaml"), "x")
				write(t, filepath.Join(word, "src", name), "x")
			}
		}},
		{"tested", exitProblems, func() { // a folder that is no module has tests
			write(t, filepath.Join(h.clone, "modules", texts["delimiter"], "tests", "a.yaml"), "x")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.branch(t, "topic")
			c.make()
			h.commit(t, evil)
			h.push(t, "HEAD:refs/heads/"+c.name)
			number := h.repo.OpenPull(c.name, "main", evil, "mallory").Number
			forged := h.repo.AddComment(number, "mallory", marker+"\nforged").ID
			j := h.check(t, h.pullRequest(t, number, nil), "GITHUB_TOKEN=write-token")
			if j.code != c.code {
				t.Fatalf("exit code %d, want %d: %s", j.code, c.code, j.all())
			}
			for _, line := range commands(j.out) {
				if !regexp.MustCompile(`^::(error|warning) (col=\d+,)?file=[^:]*::`).MatchString(line) {
					t.Errorf("a command was forged: %q", line)
				}
			}
			if got := commands(j.err); len(got) > 0 {
				t.Errorf("commands were forged: %q", got)
			}
			comments := h.ours(number)
			if len(comments) != 1 || !strings.HasPrefix(comments[0], marker+"\n### modyard: ") {
				t.Fatalf("comments %q", comments)
			}
			for _, one := range h.repo.Comments(number) {
				if one.ID == forged && one.Body != marker+"\nforged" {
					t.Errorf("the comment of another was edited: %q", one.Body)
				}
			}
			for where, text := range map[string]string{"comment": strings.TrimPrefix(comments[0], marker), "summary": j.summary} {
				onlyText(t, where, text)
			}
			if names := regexp.MustCompile(`(?m)^([^<\n]*)<<_GitHubActionsFileCommandDelimeter_$`).FindAllStringSubmatch(j.outputs, -1); len(names) != 4 {
				t.Errorf("the outputs are %q", j.outputs)
			}
			if strings.Count(j.outputs, "\n_GitHubActionsFileCommandDelimeter_\n") != 4 || strings.Contains(j.outputs, "forged") || c.code == exitProblems && !strings.Contains(j.outputs, "verdict<<_GitHubActionsFileCommandDelimeter_\nproblems\n") {
				t.Errorf("the outputs are %q", j.outputs)
			}
			for _, dir := range []string{h.clone, h.w.dir} {
				if _, err := os.Stat(filepath.Join(dir, "pwned")); err == nil {
					t.Fatal("a text was executed")
				}
			}
		})
	}
}

// onlyText fails when Markdown has more than our own words mean.
func onlyText(t *testing.T, where, text string) {
	t.Helper()
	for _, bad := range []string{"@", "::error", "::set-output", "<img", "<!--", "`", "](", "![", "$(", "${{", "www.", "https:", "acme/modules#", "touch pwned\n", "forged\n|"} {
		if strings.Contains(text, bad) {
			at := strings.Index(text, bad)
			t.Errorf("the %s has %q: …%s…", where, bad, text[max(0, at-100):min(len(text), at+100)])
		}
	}
	if outside := regexp.MustCompile(`<code>[^<]*</code>`).ReplaceAllString(text, ""); strings.Contains(outside, "GH-1") {
		t.Errorf("the %s refers to an issue", where) // in code style GitHub sees no reference
	}
	rows := 0
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "|") {
			if n := strings.Count(line, "|"); n != 4 && n != 6 {
				t.Errorf("a row of a table in the %s has %d bars: %q", where, n, line)
			}
			rows++
		}
	}
	for _, tag := range regexp.MustCompile(`<[^>]*>`).FindAllString(text, -1) {
		switch tag {
		case "<code>", "</code>", "<details>", "</details>", "<summary>", "</summary>":
		default:
			t.Errorf("the %s has the tag %q", where, tag)
		}
	}
}

// TestInert: nothing that is written to a log is a command, however it is cut.
func TestInert(t *testing.T) {
	for _, text := range texts {
		var log bytes.Buffer
		w := &inert{w: &log}
		for _, part := range []string{text, "\n", " ", text, "\r\t" + text, "\u200b", text + "\n"} {
			if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}
		if got := commands(log.String()); len(got) > 0 {
			t.Errorf("%q has the commands %q", text, got)
		}
	}
	var log bytes.Buffer
	const plain = "look: modules/é: “owners” were none\n\t1::2 [x] # y\n"
	if _, err := (&inert{w: &log}).Write([]byte(plain)); err != nil || log.String() != plain {
		t.Errorf("%q became %q: %v", plain, &log, err)
	}
}

// TestAttackChanges: what a pull request may bring has a verdict and a word,
// in little time and memory.
func TestAttackChanges(t *testing.T) {
	t.Parallel()
	h := newHub(t, "")
	many := 1000 // files
	if os.Getenv("MODYARD_LARGE") != "" {
		many = 10_000
	}
	const word = "modules/word-count/"
	good := "apiVersion: modyard.dev/v1\nkind: ModuleVersion\nmodule: word-count\nversion: 1.0.1\ndescription: Counts.\n"
	link := func(t *testing.T, to, name string) {
		t.Helper()
		name = filepath.Join(h.clone, name)
		if err := errors.Join(os.RemoveAll(name), os.MkdirAll(filepath.Dir(name), 0o755), os.Symlink(to, name)); err != nil {
			t.Fatal(err)
		}
	}
	put := func(t *testing.T, name, text string) {
		t.Helper()
		write(t, filepath.Join(h.clone, name), text)
	}
	submodule := func(t *testing.T, name string) {
		t.Helper()
		path := filepath.Join(h.clone, name)
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		h.w.run(t, h.clone, "git", "rm", "-r", "-q", "--cached", "--ignore-unmatch", name)
		h.w.run(t, h.clone, "git", "init", "-q", path)
		write(t, filepath.Join(path, "x"), "x")
		h.w.run(t, path, "git", "add", "-A")
		h.w.run(t, path, "git", "commit", "-q", "-m", "x")
	}
	next := func(t *testing.T) { h.w.run(t, h.clone, "modyard", "new", "version", "word-count", "--bump", "patch") }
	for _, c := range []struct {
		name string
		code int
		want string // of what is said
		do   func(t *testing.T)
	}{
		{"published version", exitProblems, "file=modules/word-count/versions/1.0.0.yaml,line=1,title=modyard%3A immutable::", func(t *testing.T) { h.append(t, word+"versions/1.0.0.yaml", "# changed\n") }},
		{"published version deleted", exitProblems, "1.0.0.yaml,title=modyard%3A immutable::the published version was deleted", func(t *testing.T) {
			next(t)
			h.w.run(t, h.clone, "git", "rm", "-q", "-f", word+"versions/1.0.0.yaml")
		}},
		{"published version renamed", exitProblems, "1.0.0.yaml,title=modyard%3A immutable::", func(t *testing.T) {
			h.w.run(t, h.clone, "git", "mv", "modules/word-count", "modules/words")
		}},
		{"link as a version", exitProblems, `versions/1.0.1.yaml" is a link`, func(t *testing.T) { link(t, "1.0.0.yaml", word+"versions/1.0.1.yaml") }},
		{"link to what does not end", exitProblems, `versions/1.0.1.yaml" is a link`, func(t *testing.T) { link(t, "/dev/zero", word+"versions/1.0.1.yaml") }},
		{"link as a manifest", exitProblems, `module.yaml" is a link`, func(t *testing.T) { link(t, "/dev/zero", word+"module.yaml") }},
		{"link as the registry", exitProblems, `registry.yaml" is a link`, func(t *testing.T) { link(t, "/dev/zero", "registry.yaml") }},
		{"link as a test", exitProblems, `tests/x.yaml" is a link`, func(t *testing.T) { link(t, "/dev/zero", word+"tests/x.yaml") }},
		{"link as a module", exitProblems, `"modules/x" is a link`, func(t *testing.T) { link(t, "word-count", "modules/x") }},
		{"link as all modules", exitProblems, `"modules" is a link`, func(t *testing.T) { link(t, "/etc", "modules") }},
		{"link as owners", exitProblems, "CODEOWNERS", func(t *testing.T) { link(t, "/dev/zero", ".github/CODEOWNERS") }},
		{"link as a list", exitProblems, ".modyardignore", func(t *testing.T) { next(t); link(t, "/dev/zero", word+"src/.modyardignore") }},
		{"link in the source", exitProblems, `"passwd" in the folder "../src" is a link out of the folder`, func(t *testing.T) { next(t); link(t, "/etc/passwd", word+"src/passwd") }},
		{"link as the source", exitProblems, `word-count/src" is a link`, func(t *testing.T) { next(t); link(t, "/etc", word+"src") }},
		{"folder as the registry", exitProblems, "registry.yaml", func(t *testing.T) {
			h.w.run(t, h.clone, "git", "rm", "-q", "registry.yaml")
			put(t, "registry.yaml/x", "x")
		}},
		{"file as all modules", exitProblems, "modules", func(t *testing.T) {
			h.w.run(t, h.clone, "git", "rm", "-q", "-r", "modules")
			put(t, "modules", "x")
		}},
		{"submodule", exitProblems, `"modules/x" is a git submodule`, func(t *testing.T) { submodule(t, "modules/x") }},
		{"submodule as the source", exitProblems, `"modules/word-count/src" is a git submodule`, func(t *testing.T) { submodule(t, word+"src") }},
		{"names that differ by case", exitProblems, "file=modules/Word-Count", func(t *testing.T) {
			put(t, "modules/Word-Count/module.yaml", "apiVersion: modyard.dev/v1\nkind: Module\nname: Word-Count\ndescription: Counts.\n")
		}},
		{"names that differ by a sign", exitProblems, "differ only by case or by - and _", func(t *testing.T) {
			put(t, "modules/word_count/module.yaml", "apiVersion: modyard.dev/v1\nkind: Module\nname: word_count\ndescription: Counts.\n")
		}},
		{"files that differ by case", exitProblems, "COUNT.py", func(t *testing.T) {
			put(t, word+"src/COUNT.py", "x")
			put(t, word+"versions/1.0.1.yaml", good+"run: {command: [x]}\nsnapshot: {folder: ../src}\n")
		}},
		{"workflow", exitLook, "look: .github/workflows/modyard-check.yml: a file that GitHub executes was changed", func(t *testing.T) { h.append(t, ".github/workflows/modyard-check.yml", "# changed\n") }},
		{"action", exitLook, "look: .github/actions/x/action.yml: a file that GitHub executes", func(t *testing.T) { put(t, ".github/actions/x/action.yml", "name: x\n") }},
		{"owners", exitLook, "look: .github/CODEOWNERS: who must review was changed", func(t *testing.T) { h.append(t, ".github/CODEOWNERS", "* @mallory\n") }},
		{"owners elsewhere", exitLook, "who must review was changed", func(t *testing.T) { put(t, "docs/CODEOWNERS", "* @mallory\n") }},
		{"policy", exitLook, "look: registry.yaml: the registry's own settings were changed", func(t *testing.T) { h.append(t, "registry.yaml", "# changed\n") }},
		{"pipeline that reads without end", exitGood, "reaches endless.yaml", func(t *testing.T) {
			next(t)
			put(t, "endless.yaml", "apiVersion: modyard.dev/v1\nkind: Pipeline\nname: endless\nregistries: {acme: .}\ninputs: {text: {type: file, format: txt, path: /dev/zero}}\nsteps: {a: {module: acme/word-count, inputs: {text: '${{ inputs.text }}'}}}\n")
		}},
		{"many files of a source", exitGood, "new: word-count@1.0.1", func(t *testing.T) {
			for i := range many {
				put(t, fmt.Sprintf("%ssrc/f/%d.txt", word, i), "x")
			}
			next(t)
		}},
		{"many modules", exitLook, "the module \"m499\" is new", func(t *testing.T) {
			for i := range many / 2 {
				name := fmt.Sprint("m", i)
				put(t, "modules/"+name+"/module.yaml", "apiVersion: modyard.dev/v1\nkind: Module\nname: "+name+"\ndescription: One of many.\n")
				put(t, "modules/"+name+"/versions/1.0.0.yaml", "apiVersion: modyard.dev/v1\nkind: ModuleVersion\nmodule: "+name+"\nversion: 1.0.0\ndescription: One of many.\ncreated: 2026-01-01T00:00:00Z\nrun: {command: ['true']}\nsnapshot: {image: {name: "+name+".example.com/x@sha256:"+strings.Repeat("0", 64)+"}}\n")
			}
		}},
		{"many versions", exitProblems, "title=modyard%3A ", func(t *testing.T) {
			for i := range many {
				put(t, fmt.Sprintf("%sversions/1.1.%d.yaml", word, i), "x")
			}
		}},
		{"many pipelines", exitGood, "reaches p/99.yaml", func(t *testing.T) {
			next(t)
			for i := range many {
				put(t, fmt.Sprintf("p/%d.yaml", i), "apiVersion: modyard.dev/v1\nkind: Pipeline\nname: p\nregistries: {acme: ..}\ninputs: {text: {type: file, format: txt, path: x}}\nsteps: {a: {module: acme/word-count, inputs: {text: '${{ inputs.text }}'}}}\n")
			}
		}},
		{"1 GB as a source", exitGood, "new: word-count@1.0.1", func(t *testing.T) { sparse(t, filepath.Join(h.clone, word+"src/big")); next(t) }},
		{"1 GB as a version", exitProblems, "1.0.1.yaml", func(t *testing.T) { sparse(t, filepath.Join(h.clone, word+"versions/1.0.1.yaml")) }},
		{"1 GB as owners", exitProblems, "CODEOWNERS", func(t *testing.T) { sparse(t, filepath.Join(h.clone, ".github/CODEOWNERS")) }},
		{"1 GB as a pipeline", exitGood, "0 problems", func(t *testing.T) { sparse(t, filepath.Join(h.clone, "big.yaml")) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.HasPrefix(c.name, "1 GB") {
				large(t, 4<<30)
			}
			h.branch(t, "topic")
			c.do(t)
			h.commit(t, c.name)
			j := h.check(t, h.pullRequest(t, 1, nil))
			if j.code != c.code || !strings.Contains(j.out+j.err, c.want) {
				t.Errorf("exit code %d, want %d and %q: %.1500s\n%.1500s", j.code, c.code, c.want, j.out, j.err)
			}
			if verdict := map[int]string{exitGood: "good", exitProblems: "problems", exitLook: "look"}[c.code]; !strings.HasPrefix(j.outputs, "verdict<<_GitHubActionsFileCommandDelimeter_\n"+verdict+"\n") {
				t.Errorf("the outputs are %.200q", j.outputs)
			}
			if j.took > 20*time.Second || j.memory > mostMemory {
				t.Errorf("it took %s and %d MiB", j.took, j.memory>>20)
			}
			t.Logf("%s, %d MiB", j.took.Round(time.Millisecond), j.memory>>20)
		})
	}
}

// sparse makes a file of 1 GB that takes no space.
func sparse(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err == nil {
		err = errors.Join(f.Truncate(1<<30), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestAttackSecrets: a link shows nothing of what it leads to.
func TestAttackSecrets(t *testing.T) {
	t.Parallel()
	h := newHub(t, "")
	const secret = "hunter2secret"
	write(t, filepath.Join(h.w.dir, "credentials"), secret+": "+secret+"\n!"+secret+"\n")
	for _, name := range []string{"registry.yaml", "modules/x/module.yaml", "modules/word-count/module.yaml", "modules/word-count/versions/1.0.1.yaml", "modules/word-count/tests/x.yaml", "modules/word-count/src/.modyardignore", ".github/CODEOWNERS", "p.yaml", "pipeline.lock.yaml"} {
		t.Run(name, func(t *testing.T) {
			h.branch(t, "topic")
			if strings.Contains(name, "src") {
				h.w.run(t, h.clone, "modyard", "new", "version", "word-count", "--bump", "patch")
			}
			file := filepath.Join(h.clone, name)
			if err := errors.Join(os.RemoveAll(file), os.MkdirAll(filepath.Dir(file), 0o755), os.Symlink(filepath.Join(h.w.dir, "credentials"), file)); err != nil {
				t.Fatal(err)
			}
			h.commit(t, "x")
			if j := h.check(t, h.pullRequest(t, 1, nil)); strings.Contains(j.all(), secret) || j.code > exitProblems {
				t.Errorf("exit code %d: %s", j.code, j.all())
			}
		})
	}
}

// TestAttackClone: nor does one in a registry that is cloned to be read.
func TestAttackClone(t *testing.T) {
	t.Parallel()
	h := newHub(t, "")
	const secret = "hunter2secret"
	write(t, filepath.Join(h.w.dir, "credentials"), secret+": "+secret+"\n")
	file := filepath.Join(h.clone, "modules", "word-count", "module.yaml")
	if err := errors.Join(os.Remove(file), os.Symlink(filepath.Join(h.w.dir, "credentials"), file)); err != nil {
		t.Fatal(err)
	}
	h.commit(t, "x")
	h.push(t, "main")
	if out := h.w.fails(t, h.w.dir, "modyard", "show", "word-count", "--registry", "file://"+h.repo.Dir); strings.Contains(out, secret) || !strings.Contains(out, "file://"+h.repo.Dir+"/modules/word-count/module.yaml: ") || !strings.Contains(out, "it is a link") {
		t.Errorf("show: %s", out)
	}
}

// TestAttackEnvironment: a pipeline of a pull request that asks for a variable of
// the check's environment gets no value of it into what the check says.
func TestAttackEnvironment(t *testing.T) {
	t.Parallel()
	h := newHub(t, "")
	h.branch(t, "topic")
	h.w.run(t, h.clone, "modyard", "new", "version", "word-count", "--bump", "patch")
	write(t, filepath.Join(h.clone, "leak.yaml"), "apiVersion: modyard.dev/v1\nkind: Pipeline\nname: leak\nregistries: {acme: .}\ninputs: {text: {type: file}}\nsteps:\n  count:\n    module: acme/word-count@^1\n    inputs: {text: '${{ inputs.text }}'}\n    params: {least: '${{ env.GITHUB_TOKEN }}'}\n")
	h.commit(t, "one")
	h.push(t, "topic")
	number := h.repo.OpenPull("topic", "main", "Change", "mallory").Number
	j := h.check(t, h.pullRequest(t, number, nil), "GITHUB_TOKEN=write-token")
	comments := strings.Join(h.ours(number), "\n")
	if !strings.Contains(comments, "leak.yaml") {
		t.Errorf("the pipeline is not in the comment: %s", comments)
	}
	if all := j.all() + j.outputs + j.summary + comments; strings.Contains(all, "write-token") {
		t.Errorf("the token was told: %s", all)
	}
}

// TestAttackPropose: a proposal to a repository that somebody else has made
// writes nothing outside the copy of it, wherever links in it lead.
func TestAttackPropose(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		link string // in the repository; it leads to a file or a folder outside
		want string // printed
		args []string
	}{
		"owners":      {".github/CODEOWNERS", `opened acme/modules#`, []string{"propose", "word-count", "--to", "github.com/acme/modules"}},
		"module":      {"modules/word-count", `"modules/word-count" is a link in acme/modules`, []string{"propose", "word-count", "--to", "github.com/acme/modules"}},
		"source":      {"modules/word-count/src", `"modules/word-count/src" is a link in acme/modules`, []string{"propose", "word-count", "--to", "github.com/acme/modules"}},
		"source file": {"modules/word-count/src/count.py", `"modules/word-count/src/count.py" is a link in acme/modules`, []string{"propose", "word-count", "--to", "github.com/acme/modules"}},
		"state":       {"modules/word-count/module.yaml", `has no module.yaml`, []string{"deprecate", "word-count@1.0.0", "--reason", "slow", "--pr", "--registry", "github.com/acme/modules"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, "")
			w := h.user(t, "alice-token")
			if err := os.CopyFS(filepath.Join(w.dir, "word-count"), os.DirFS(filepath.Join(h.clone, "modules", "word-count"))); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(w.dir, "word-count", "src", "count.py"), "print('mine')\n")
			link, outside := filepath.Join(h.clone, filepath.FromSlash(c.link)), filepath.Join(t.TempDir(), "outside")
			if info, err := os.Stat(link); err == nil && info.IsDir() {
				err = os.CopyFS(outside, os.DirFS(link))
				if err := errors.Join(err, os.RemoveAll(link)); err != nil {
					t.Fatal(err)
				}
			} else if data, err := os.ReadFile(link); err == nil {
				write(t, outside, string(data))
				os.Remove(link)
			} else {
				write(t, outside, "* @alice\n")
			}
			if err := errors.Join(os.MkdirAll(filepath.Dir(link), 0o755), os.Symlink(outside, link)); err != nil {
				t.Fatal(err)
			}
			before := content(t, outside)
			h.commit(t, "x")
			h.push(t, "main")
			out, _ := w.command(w.dir, "modyard", c.args...).CombinedOutput()
			if after := content(t, outside); after != before {
				t.Errorf("what the link leads to was changed:\n%s\n--- was ---\n%s\n--- printed ---\n%s", after, before, out)
			}
			if !strings.Contains(string(out), c.want) {
				t.Errorf("it printed\n%s\nwant %q", out, c.want)
			}
		})
	}
}

// content is all that a file, or a folder, holds.
func content(t *testing.T, path string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		fmt.Fprintf(&b, "%s: %s\n", strings.TrimPrefix(p, path), data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestAttackTag: a tag that is moved publishes nothing else than what is
// published.
func TestAttackTag(t *testing.T) {
	t.Parallel()
	at := imageHost(t) + "/acme"
	h := newHub(t, "images: "+at+"\nindex: gh-pages\n")
	maintainer := h.user(t, "write-token")
	maintainer.env = append(maintainer.env, "GITHUB_ACTIONS=true", "GITHUB_REPOSITORY=acme/modules")
	publish := func() (string, int) {
		t.Helper()
		h.push(t, "word-count/v1.0.0", "main")
		event := h.payload(t, "push.json", func(e map[string]any) {
			e["ref"], e["before"], e["after"] = "refs/tags/word-count/v1.0.0", noCommit, h.head(t, "word-count/v1.0.0")
		})
		cmd := maintainer.command(h.clone, "modyard", "publish", "--event", event, "--release", "--key", filepath.Join(h.w.dir, "key.pem"))
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	h.w.run(t, h.clone, "git", "tag", "word-count/v1.0.0")
	if out, code := publish(); code != exitGood {
		t.Fatalf("exit code %d: %s", code, out)
	}
	published := func() string {
		t.Helper()
		ref, err := name.ParseReference(at + "/word-count:1.0.0")
		if err != nil {
			t.Fatal(err)
		}
		d, err := remote.Head(ref)
		if err != nil {
			t.Fatal(err)
		}
		return d.Digest.String()
	}
	digest := published()
	for _, c := range []struct {
		name, want string
		code       int
		change     func()
	}{
		{"off the default branch", "which is not on the branch main", exitProblems, func() {
			h.branch(t, "evil")
			h.append(t, "modules/word-count/src/count.py", "# evil\n")
			h.commit(t, "evil")
		}},
		{"to a commit before the last", "the index is left to a run at", exitGood, func() {
			h.branch(t, "main")
			h.append(t, "notes", "x")
			h.commit(t, "x")
			h.w.run(t, h.clone, "git", "checkout", "-q", "--detach", "HEAD~1")
		}},
		{"to other files of the same version", "already", exitGood, func() { // its source is that of the commit that added it
			h.branch(t, "main")
			h.append(t, "modules/word-count/src/count.py", "# evil\n")
			h.commit(t, "evil")
		}},
		{"to another version of that number", "never changes", exitProblems, func() {
			h.branch(t, "main")
			h.append(t, "modules/word-count/src/count.py", "# evil\n")
			h.append(t, "modules/word-count/versions/1.0.0.yaml", "\n# evil\n")
			h.w.run(t, h.clone, "modyard", "check", "--fix")
			h.commit(t, "evil")
		}},
	} {
		c.change()
		h.w.run(t, h.clone, "git", "tag", "-f", "word-count/v1.0.0")
		if out, code := publish(); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%s: exit code %d: %s", c.name, code, out)
		}
		if got := published(); got != digest {
			t.Errorf("%s: published is %s, and was %s", c.name, got, digest)
		}
	}
	if n := len(h.repo.Releases()); n != 1 {
		t.Errorf("there are %d releases", n)
	}
	// A release is made on no commit that was not merged.
	h.branch(t, "evil")
	h.append(t, "modules/word-count/src/count.py", "# evil\n")
	h.commit(t, "evil")
	h.w.run(t, h.clone, "git", "tag", "word-count/v1.0.1")
	h.branch(t, "main")
	h.w.run(t, h.clone, "git", "checkout", "-q", "origin/main", "--", ".")
	h.w.run(t, h.clone, "modyard", "new", "version", "word-count", "--bump", "patch")
	h.commit(t, "one")
	before := h.head(t, "origin/main")
	h.push(t, "word-count/v1.0.1", "main")
	push := h.payload(t, "push.json", func(e map[string]any) { e["ref"], e["before"] = "refs/heads/main", before })
	if out := maintainer.fails(t, h.clone, "modyard", "publish", "--event", push, "--release", "--key", filepath.Join(h.w.dir, "key.pem")); !strings.Contains(out, "which was not merged") {
		t.Errorf("a tag that was there before: %s", out)
	}
	if n := len(h.repo.Releases()); n != 1 {
		t.Errorf("there are %d releases", n)
	}
	// By hand, all that is checked out is published: of the default branch alone.
	h.branch(t, "unmerged")
	h.append(t, "notes", "y")
	h.commit(t, "y")
	event := h.payload(t, "push.json", func(e map[string]any) {
		e["ref"] = "refs/heads/unmerged"
	})
	if out := maintainer.fails(t, h.clone, "modyard", "publish", "--event", event, "--release"); !strings.Contains(out, "what is checked out is on the commit") || !strings.Contains(out, "which is not on the branch main") {
		t.Errorf("by hand on a branch: %s", out)
	}
}

// TestAttackAtOnce: two checks of one pull request leave one comment.
func TestAttackAtOnce(t *testing.T) {
	t.Parallel()
	h := newHub(t, "")
	number, event := h.newVersion(t, "word-count", "patch")
	// Both have asked for comments before one of them has written.
	var asked sync.WaitGroup
	asked.Add(2)
	h.s.Fault(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			asked.Done()
			asked.Wait()
		}
		return false
	})
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if j := h.check(t, event, "GITHUB_TOKEN=write-token"); j.code != exitGood {
				t.Errorf("exit code %d: %s", j.code, j.all())
			}
		})
	}
	both.Wait()
	if got := h.ours(number); len(got) != 1 || !strings.Contains(got[0], "modyard: good") {
		t.Errorf("comments %q", got)
	}
}

// TestAttackToken: what the token may not is said, and the token is nowhere.
func TestAttackToken(t *testing.T) {
	t.Parallel()
	h := newHub(t, "")
	number, event := h.newVersion(t, "word-count", "patch")
	// A git that tells what it was given.
	real, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	bin, told := filepath.Join(h.w.dir, "bin"), filepath.Join(h.w.dir, "told")
	write(t, filepath.Join(bin, "git"), "#!/bin/sh\n{ env; echo \"$@\"; } >> '"+told+"'\nexec '"+real+"' \"$@\"\n")
	if err := os.Chmod(filepath.Join(bin, "git"), 0o755); err != nil {
		t.Fatal(err)
	}
	path := "PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH")
	var urls []string
	var mu sync.Mutex
	answers := func(status int, method, text string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			urls = append(urls, r.URL.String())
			if r.Method != method || strings.HasSuffix(r.URL.Path, "/user") {
				return false
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"message": %s}`, jsonText(text))
			return true
		}
	}
	const denied = "Resource not accessible by integration"
	for _, c := range []struct {
		name, token string
		fault       func(http.ResponseWriter, *http.Request) bool
		code        int
		want        string
	}{
		{"may read", "read-token", nil, exitGood, "pull-requests: write"},
		{"may write", "write-token", nil, exitGood, "comment: http"},
		{"may not write", "write-token", answers(http.StatusForbidden, http.MethodPatch, denied), exitGood, "pull-requests: write"},
		{"may not read", "write-token", answers(http.StatusForbidden, http.MethodGet, denied), exitProblems, "pull-requests: read"},
		{"is not known", "stale-token", nil, exitProblems, "the token is not valid"},
		{"fails", "write-token", answers(http.StatusBadGateway, http.MethodGet, "oh"), exitGood, "warning: no comment, the job's summary has the report: cannot read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.s.Fault(c.fault)
			defer h.s.Fault(nil)
			_ = os.Remove(told)
			if c.name == "may not write" {
				h.append(t, "README.md", "x")
				h.w.run(t, h.clone, "modyard", "new", "version", "word-count", "--bump", "minor")
				defer h.w.run(t, h.clone, "git", "clean", "-q", "-ffdx")
				defer h.w.run(t, h.clone, "git", "checkout", "-q", "-f", ".")
			}
			j := h.check(t, event, path, "GITHUB_TOKEN="+c.token, "GH_TOKEN="+c.token, "ACTIONS_ID_TOKEN_REQUEST_TOKEN="+c.token)
			if j.code != c.code || !strings.Contains(j.err, c.want) {
				t.Errorf("exit code %d, want %d and %q: %s", j.code, c.code, c.want, j.err)
			}
			data, err := os.ReadFile(told)
			if err != nil || !strings.Contains(string(data), "merge-base") {
				t.Errorf("git told %q: %v", data, err)
			}
			for where, text := range map[string]string{"child": string(data), "print": j.all(), "address": strings.Join(urls, "\n") + strings.Join(h.s.Requests(), "\n"), "comment": strings.Join(h.ours(number), "\n")} {
				if strings.Contains(text, c.token) {
					t.Errorf("the token is in a %s: %s", where, text)
				}
			}
		})
	}
}
