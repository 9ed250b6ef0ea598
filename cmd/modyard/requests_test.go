//go:build unix

package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestRequests: how often GitHub is asked does not grow with the registry.
func TestRequests(t *testing.T) {
	t.Parallel()
	h := newHub(t, "source: https://github.com/acme/modules\n")
	var steps strings.Builder
	steps.WriteString("apiVersion: modyard.dev/v1\nkind: Pipeline\nname: ten\nregistries: {acme: github.com/acme/modules@main}\nsteps:\n")
	for i := range 60 {
		name := fmt.Sprintf("m%02d", i)
		dir := filepath.Join(h.clone, "modules", name)
		write(t, filepath.Join(dir, "module.yaml"), "apiVersion: modyard.dev/v1\nkind: Module\nname: "+name+"\ndescription: One of many.\n")
		write(t, filepath.Join(dir, "src", "x"), name)
		for _, number := range []string{"1.0.0", "1.1.0"} {
			write(t, filepath.Join(dir, "versions", number+".yaml"), "apiVersion: modyard.dev/v1\nkind: ModuleVersion\nmodule: "+name+"\nversion: "+number+"\ndescription: One of many.\noutputs: {o: {type: file}}\nrun: {command: [cp, x, '${{ outputs.o }}']}\nsnapshot: {folder: ../src}\n")
		}
		if i < 10 {
			steps.WriteString("  " + name + ": {module: acme/" + name + "@^1}\n")
		}
	}
	// Pipelines of the registry's own repository name it as others do.
	write(t, filepath.Join(h.clone, "ten.yaml"), steps.String())
	write(t, filepath.Join(h.clone, "twenty.yaml"), strings.NewReplacer("name: ten", "name: twenty", "acme: github.com/acme/modules@main", "acme: github.com/acme/modules").Replace(steps.String()))
	// These are of what was, or of another registry.
	for name, location := range map[string]string{"commit.yaml": "github.com/acme/modules@" + h.head(t, "HEAD"), "tag.yaml": "github.com/acme/modules@v1", "folder.yaml": "github.com/acme/modules/ml", "other.yaml": "github.com/acme/more"} {
		write(t, filepath.Join(h.clone, name), strings.Replace(steps.String(), "github.com/acme/modules@main", location, 1))
	}
	h.w.run(t, h.clone, "git", "tag", "v1")
	h.w.run(t, h.clone, "modyard", "check", "--fix")
	h.commit(t, "many")
	h.push(t, "main")

	number, event := h.newVersion(t, "m07", "minor")
	for _, comment := range []string{"made", "edited"} {
		h.s.Forget()
		j := h.check(t, event, "GITHUB_TOKEN=write-token")
		if got := h.s.Requests(); j.code != exitGood || len(got) > 10 || len(h.ours(number)) != 1 {
			t.Errorf("a check whose comment is %s took %d requests: %q: %s", comment, len(got), got, j.err)
		} else {
			t.Logf("a check whose comment is %s took %d requests", comment, len(got))
		}
		for _, pipeline := range []string{"ten.yaml", "twenty.yaml"} {
			if !strings.Contains(j.err, "reaches "+pipeline+`, step "m07"`) {
				t.Errorf("%s is not reached: %s", pipeline, j.err)
			}
		}
		if n := strings.Count(j.err, "reaches "); n != 2 {
			t.Errorf("%d steps are reached: %s", n, j.err)
		}
		h.append(t, "modules/m07/module.yaml", "tags: [new]\n")
	}

	w := h.user(t, "")
	pipeline := filepath.Join(w.dir, "ten.yaml")
	write(t, pipeline, steps.String())
	for _, c := range []struct {
		name string
		args []string
		most int
	}{
		{"nothing cached", []string{"plan", pipeline}, 5 + 2*10},
		{"cached and unchanged", []string{"plan", pipeline}, 1},
		{"making a lock", []string{"lock", pipeline}, 1},
		{"locked", []string{"plan", pipeline}, 0},
		{"locked and offline", []string{"--offline", "plan", pipeline}, 0},
	} {
		h.s.Forget()
		w.run(t, w.dir, "modyard", c.args...)
		if got := h.s.Requests(); len(got) > c.most || c.most == 1 && len(got) != 1 {
			t.Errorf("%s: %d requests, at most %d: %q", c.name, len(got), c.most, got)
		} else {
			t.Logf("%s: %d requests", c.name, len(got))
		}
	}
}
