package main

import (
	"github.com/google/go-containerregistry/pkg/registry"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadme runs every command of the README's console blocks, in order, in a
// folder with the repository's testdata, and compares what it prints.
func TestReadme(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "README.md")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "testdata"), os.DirFS(filepath.Join(root, "testdata"))); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "acme"), 0o755); err != nil {
		t.Fatal(err)
	}
	shout := "import sys\nargs = dict(a.split('=', 1) for a in sys.argv[1:])\nopen(args['--loud'], 'w').write(open(args['--text']).read().upper())\n"
	if err := keyFiles(filepath.Join(dir, "acme")); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(srv.Close)
	// What the README sends to ghcr.io goes to a registry on loopback.
	here := strings.NewReplacer("ghcr.io/", srv.Listener.Addr().String()+"/")
	there := strings.NewReplacer(srv.Listener.Addr().String()+"/", "ghcr.io/")
	parts := strings.Split(string(data), "```console\n")
	commands := 0
	for i, part := range parts[1:] {
		block, rest, ok := strings.Cut(part, "```\n")
		if !ok {
			t.Fatal("a console block has no end")
		}
		var fresh strings.Builder
		for _, c := range splitCommands(block) {
			commands++
			if strings.Contains(c.line, "--script shout.py") {
				if err := os.WriteFile(filepath.Join(dir, "acme", "shout.py"), []byte(shout), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got := there.Replace(shell(t, dir, here.Replace(c.line)))
			fresh.WriteString("$ " + c.line + "\n" + got)
			if !*update && columns(got) != columns(c.output) {
				t.Errorf("%s\nprints:\n%s\nthe README has:\n%s", c.line, got, c.output)
			}
		}
		parts[i+1] = fresh.String() + "```\n" + rest
	}
	if commands < 10 {
		t.Errorf("the README has %d commands", commands)
	}
	if *update {
		if err := os.WriteFile(file, []byte(strings.Join(parts, "```console\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

var spaces = regexp.MustCompile(` {2,}`)

// columns drops what depends on how long a run's id is: the width of columns.
func columns(s string) string { return spaces.ReplaceAllString(normalize(s), "  ") }

type readmeCommand struct{ line, output string }

func splitCommands(block string) []readmeCommand {
	var out []readmeCommand
	for line := range strings.Lines(block) {
		if c, ok := strings.CutPrefix(line, "$ "); ok {
			out = append(out, readmeCommand{line: strings.TrimSuffix(c, "\n")})
		} else if len(out) > 0 {
			out[len(out)-1].output += line
		}
	}
	return out
}

// shell runs a command as a reader would, with stdout and stderr as they come.
func shell(t *testing.T, dir, line string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, ".bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(bin, "modyard")
	if _, err := os.Lstat(link); err != nil {
		if err := os.Symlink(exe, link); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(line, "go run ./cmd/modyard", "modyard"))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+filepath.Join(dir, ".docker"), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
		"PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "MODYARD_STORE="+filepath.Join(dir, ".store"))
	out, _ := cmd.CombinedOutput() // an exit code is part of some examples
	return strings.ReplaceAll(string(out), dir, "")
}
