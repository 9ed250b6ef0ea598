package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modyard/modyard/registry"
	"github.com/modyard/modyard/schema"
)

// Each exit code, by a command that gives it.
func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"fails.yaml": "apiVersion: modyard.dev/v1\nkind: Pipeline\nname: fails\nsteps:\n  a:\n    run: {command: [sh, -c, exit 7]}\n",
		"good.yaml":  "apiVersion: modyard.dev/v1\nkind: Pipeline\nname: good\nsteps:\n  a:\n    run: {command: [\"true\"]}\n",
		"bad.yaml":   "kind: Pipeline\n",
		"file":       "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	for _, c := range []struct {
		args string
		want int
		says string
	}{
		{"run good.yaml", exitGood, "1 ran"},
		{"run fails.yaml", exitProblems, "exit code 7"},
		{"run bad.yaml", exitProblems, "lacks the key"},
		{"run missing.yaml", exitProblems, "cannot read missing.yaml"},
		{"plan bad.yaml", exitProblems, "lacks the key"},
		{"runs latest~5", exitProblems, "no such run"},
		{"", exitGood, ""},
		{"help run", exitGood, ""},
		{"nonsense", exitUsage, `unknown command "nonsense"`},
		{"run", exitUsage, "name a pipeline"},
		{"run good.yaml --nonsense", exitUsage, "unknown flag"},
		{"run good.yaml --format yaml", exitUsage, `no format "yaml"`},
		{"run good.yaml --store file", exitWorld, "cannot open the store"},
	} {
		t.Run(c.args, func(t *testing.T) {
			var out, errs bytes.Buffer
			lookup := func(name string) (string, bool) {
				if name == "MODYARD_STORE" {
					return filepath.Join(dir, "store"), true
				}
				return os.LookupEnv(name)
			}
			if got := run(context.Background(), strings.Fields(c.args), stdio{nil, &out, &errs}, lookup); got != c.want {
				t.Errorf("exit code %d, want %d: %s", got, c.want, errs.String())
			}
			if !strings.Contains(errs.String(), c.says) {
				t.Errorf("stderr lacks %q: %s", c.says, errs.String())
			}
		})
	}
}

func TestExitInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile("p.yaml", []byte("apiVersion: modyard.dev/v1\nkind: Pipeline\nname: p\nsteps:\n  a:\n    run: {command: [\"true\"]}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if got := run(ctx, []string{"run", "p.yaml", "--store", "store"}, stdio{nil, &out, &errs}, os.LookupEnv); got != exitInterrupted {
		t.Errorf("exit code %d, want %d: %s", got, exitInterrupted, errs.String())
	}
}

// TestImagesTo: a workflow of a new registry publishes to its own packages.
func TestImagesTo(t *testing.T) {
	for _, c := range []struct {
		to, images, event, repository, server, want string
	}{
		{"", "", "e.json", "Acme/Modules", "", "ghcr.io/acme/modules"},
		{"", "", "", "Acme/Modules", "", ""},
		{"", "", "e.json", "", "", ""},
		{"", "", "e.json", "Acme/Modules", "https://ghe.example.com", ""},
		{"", "ghcr.io/acme/other", "e.json", "Acme/Modules", "", "ghcr.io/acme/other"},
		{"ghcr.io/acme/third", "ghcr.io/acme/other", "e.json", "Acme/Modules", "", "ghcr.io/acme/third"},
	} {
		env := map[string]string{"GITHUB_REPOSITORY": c.repository, "GITHUB_SERVER_URL": c.server}
		a := &app{stdio: stdio{err: io.Discard}, lookup: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
		reg := &registry.Registry{Registry: &schema.Registry{Images: c.images}}
		if got := a.imagesTo(reg, &publishOptions{to: c.to, event: c.event}); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}
