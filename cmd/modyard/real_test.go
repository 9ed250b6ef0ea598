//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/modyard/modyard/registry/snapshot"
)

// tools are what the tests of images run beside modyard, and how to get each.
var tools = map[string]string{
	"act":              "go install github.com/nektos/act@v0.2.89",
	"bash":             "apt-get install bash",
	"busybox":          "apt-get install busybox-static",
	"cosign":           "go install github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3",
	"crane":            "go install github.com/google/go-containerregistry/cmd/crane@v0.22.1",
	"curl":             "apt-get install curl",
	"docker-registry":  "apt-get install docker-registry",
	"fulcio":           "go install github.com/sigstore/fulcio@v1.8.8",
	"oras":             "go install oras.land/oras/cmd/oras@v1.3.6",
	"podman":           "apt-get install podman runc",
	"registry":         "go install github.com/distribution/distribution/v3/cmd/registry@v3.1.2",
	"rekor-server":     "go install github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix@v2.3.0, and call it rekor-server",
	"skopeo":           "apt-get install skopeo",
	"timestamp-server": "go install github.com/sigstore/timestamp-authority/v2/cmd/timestamp-server@v2.1.3",
	"umoci":            "apt-get install umoci",
}

// need skips a test that this machine has not the tools for.
func need(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("there is no %s: %s", name, tools[name])
		}
	}
}

// TestRealRegistries publishes to registries that nobody here wrote, and reads
// what is there with tools that nobody here wrote.
func TestRealRegistries(t *testing.T) {
	for _, r := range []struct {
		name  string
		start func(t *testing.T) string
	}{
		{"distribution 2", func(t *testing.T) string { return distribution(t, "docker-registry") }},
		{"distribution 3", func(t *testing.T) string { return distribution(t, "registry") }},
		{"with referrers", imageHost},
	} {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t)
			w.host = r.start(t)
			w.base(t)
			w.publish(t)
			for _, c := range []struct {
				tool string
				test func(*testing.T, *world)
			}{
				{"crane", craneValidates}, {"skopeo", skopeoCopies}, {"umoci", umociUnpacks}, {"oras", orasDiscovers},
				{"cosign", cosignVerifies}, {"podman", podmanRuns},
			} {
				t.Run(c.tool, func(t *testing.T) { need(t, c.tool); c.test(t, w) })
			}
		})
	}
}

// start starts a server, which ends with the test.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
}

// imageHost is a registry of images of our own, on loopback.
func imageHost(t *testing.T) (host string) {
	t.Helper()
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// distribution starts a registry of the distribution project on loopback.
func distribution(t *testing.T, program string) string {
	need(t, program)
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	text := "version: 0.1\nstorage: {filesystem: {rootdirectory: " + filepath.Join(dir, "data") + "}, delete: {enabled: true}}\nhttp: {addr: '127.0.0.1:0'}\n"
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "serve", config)
	cmd.Env = []string{"OTEL_TRACES_EXPORTER=none"}
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, cmd)
	found := make(chan string, 1)
	go func() {
		where := regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`)
		lines := bufio.NewScanner(said)
		for lines.Scan() {
			if m := where.FindStringSubmatch(lines.Text()); m != nil {
				found <- m[1]
			}
		}
	}()
	select {
	case addr := <-found:
		return addr
	case <-time.After(time.Minute):
		t.Fatalf("%s does not listen", program)
		return ""
	}
}

// world is a registry of modules in git, a host of images, keys, and modyard.
type world struct {
	dir, reg, host, tree, digest string
	env                          []string
}

// newWorld makes the registry.
func newWorld(t *testing.T) *world {
	dir := t.TempDir()
	w := &world{dir: dir, reg: filepath.Join(dir, "acme")}
	home := filepath.Join(dir, "home")
	w.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_RUNTIME_DIR=" + home, "DOCKER_CONFIG=" + home, "TMPDIR=" + dir,
		"MODYARD_STORE=" + filepath.Join(dir, "store"), "COSIGN_PASSWORD=", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=tester", "GIT_AUTHOR_EMAIL=tester@example.com", "GIT_COMMITTER_NAME=tester", "GIT_COMMITTER_EMAIL=tester@example.com",
	}
	if err := errors.Join(os.Mkdir(home, 0o755), os.WriteFile(filepath.Join(home, "config.json"), []byte("{}"), 0o644), keyFiles(filepath.Join(dir, "key")), keyFiles(filepath.Join(dir, "other"))); err != nil {
		t.Fatal(err)
	}
	w.run(t, dir, "modyard", "init", "acme")
	w.tree = filepath.Join(w.reg, "modules", "word-count", "src")
	w.run(t, w.reg, "git", "init", "-q")
	return w
}

// base adds a version that stands on an image with a shell, if this machine can
// make one; such a version is published with the others.
func (w *world) base(t *testing.T) {
	for _, name := range []string{"busybox", "crane"} {
		if _, err := exec.LookPath(name); err != nil {
			return
		}
	}
	busybox, _ := exec.LookPath("busybox")
	data, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(w.dir, "root")
	src := filepath.Join(w.reg, "modules", "shout", "src")
	for name, text := range map[string]string{
		filepath.Join(root, "bin/busybox"): string(data), filepath.Join(root, "bin/sh"): string(data), filepath.Join(root, "etc/passwd"): "root:x:0:0:root:/:/bin/sh\n",
		filepath.Join(root, "tmp/.keep"): "", filepath.Join(src, "shout.sh"): "#!/bin/sh\necho \"$1!\"\n",
		filepath.Join(w.reg, "modules", "shout", "module.yaml"): "apiVersion: modyard.dev/v1\nkind: Module\nname: shout\ndescription: Says a word loudly.\nowners: [acme]\n",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	w.run(t, root, "tar", "--owner=0", "--group=0", "-cf", filepath.Join(w.dir, "root.tar"), ".")
	name := w.host + "/base/shell:1"
	w.run(t, w.dir, "crane", "append", "--oci-empty-base", "-f", "root.tar", "-t", name)
	w.run(t, w.dir, "crane", "mutate", "--set-platform", "linux/"+strings.TrimSpace(w.run(t, w.dir, "go", "env", "GOARCH")), "-t", name, name)
	at := strings.TrimSpace(w.run(t, w.dir, "crane", "digest", name))
	file := filepath.Join(w.reg, "modules", "shout", "versions", "1.0.0.yaml")
	text := "apiVersion: modyard.dev/v1\nkind: ModuleVersion\nmodule: shout\nversion: 1.0.0\ndescription: Says a word loudly.\nparams: {word: {type: string}}\n" +
		"run: {command: [sh, shout.sh, '${{ params.word }}'], environment: {image: '" + name + "@" + at + "'}}\nsnapshot: {folder: ../src}\n"
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
	w.run(t, w.reg, "modyard", "check", "--fix")
}

// publish publishes all versions, twice.
func (w *world) publish(t *testing.T) {
	w.run(t, w.reg, "git", "add", "-A")
	w.run(t, w.reg, "git", "commit", "-q", "-m", "all")
	args := []string{"publish", "--all", "--json", "--to", w.host + "/acme", "--key", filepath.Join(w.dir, "key.pem")}
	for _, state := range []string{"published", "already"} {
		var rows []publishRow
		if err := json.Unmarshal([]byte(w.run(t, w.reg, "modyard", args...)), &rows); err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if r.State != state {
				t.Fatalf("%s@%s is %s, not %s", r.Module, r.Version, r.State, state)
			}
			if r.Module == "word-count" {
				if w.digest != "" && w.digest != string(r.Digest) {
					t.Fatalf("digest %s, then %s", w.digest, r.Digest)
				}
				w.digest = string(r.Digest)
			}
		}
	}
	out := w.run(t, w.reg, "modyard", "verify", "word-count", "--from", w.host+"/acme", "--key", filepath.Join(w.dir, "key.pub"))
	if !strings.Contains(out, "signed by key") {
		t.Fatal(out)
	}
}

func (w *world) image() string { return w.host + "/acme/word-count:1.0.0" }

// command is a command with the world's environment and nothing else.
func (w *world) command(dir, name string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	cmd := exec.CommandContext(ctx, name, args...)
	context.AfterFunc(ctx, cancel)
	cmd.Dir, cmd.Env = dir, w.env
	return cmd
}

// run runs to a good end and returns what was printed to stdout.
func (w *world) run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	var stderr strings.Builder
	cmd := w.command(dir, name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, &stderr)
	}
	return string(out)
}

// fails runs what must fail and returns all that was printed.
func (w *world) fails(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	out, err := w.command(dir, name, args...).CombinedOutput()
	if err == nil {
		t.Fatalf("%s %s went well:\n%s", name, strings.Join(args, " "), out)
	}
	return string(out)
}

func craneValidates(t *testing.T, w *world) {
	w.run(t, w.dir, "crane", "validate", "--remote", w.image())
	if got := strings.TrimSpace(w.run(t, w.dir, "crane", "digest", w.image())); got != w.digest {
		t.Errorf("digest %s, want %s", got, w.digest)
	}
}

func skopeoCopies(t *testing.T, w *world) {
	var about struct {
		Digest string
		Labels map[string]string
	}
	out := w.run(t, w.dir, "skopeo", "inspect", "--tls-verify=false", "docker://"+w.image())
	if err := json.Unmarshal([]byte(out), &about); err != nil {
		t.Fatal(err)
	}
	if about.Digest != w.digest || about.Labels["dev.modyard.module"] != "word-count" {
		t.Errorf("skopeo sees %+v", about)
	}
	// A copy elsewhere is as good: its digest is the same.
	w.run(t, w.dir, "skopeo", "copy", "--src-tls-verify=false", "--dest-tls-verify=false", "docker://"+w.image(), "docker://"+w.host+"/mirror/word-count:1.0.0")
	w.run(t, w.reg, "modyard", "verify", "word-count", "--from", w.host+"/mirror")
}

func umociUnpacks(t *testing.T, w *world) {
	need(t, "skopeo")
	layout := filepath.Join(t.TempDir(), "layout")
	w.run(t, w.dir, "skopeo", "copy", "--src-tls-verify=false", "docker://"+w.image(), "oci:"+layout+":v")
	ours := filepath.Join(t.TempDir(), "ours")
	w.run(t, w.reg, "modyard", "publish", "word-count@1.0.0", "--to", "oci:"+ours)
	for _, from := range []string{layout + ":v", ours + ":word-count-1.0.0"} {
		bundle := filepath.Join(t.TempDir(), "bundle")
		w.run(t, w.dir, "umoci", "unpack", "--rootless", "--image", from, bundle)
		got, err := snapshot.Folder(filepath.Join(bundle, "rootfs", "modyard", "snapshot"))
		if err != nil {
			t.Fatal(err)
		}
		want, err := snapshot.Folder(w.tree)
		if err != nil {
			t.Fatal(err)
		}
		a, err := got.Digest(t.Context())
		b, err2 := want.Digest(t.Context())
		if err := errors.Join(err, err2); err != nil || a != b {
			t.Errorf("%s: the tree is %s, want %s (%v)", from, a, b, err)
		}
	}
}

func orasDiscovers(t *testing.T, w *world) {
	var found struct {
		Referrers []struct{ Digest string }
		Manifests []struct{ Digest string }
	}
	out := w.run(t, w.dir, "oras", "discover", "--plain-http", "--format", "json", w.image())
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatal(err)
	}
	list := slices.Concat(found.Referrers, found.Manifests)
	if len(list) != 1 {
		t.Fatalf("oras finds %s", out)
	}
	// A registry may list another type; the manifest says what it is.
	repository, _, _ := strings.Cut(w.image(), ":1.0.0")
	manifest := w.run(t, w.dir, "oras", "manifest", "fetch", "--plain-http", repository+"@"+list[0].Digest)
	if !strings.Contains(manifest, `"artifactType":"application/vnd.dev.sigstore.bundle`) {
		t.Errorf("what is attached is %s", manifest)
	}
}

func cosignVerifies(t *testing.T, w *world) {
	offline := []string{"--insecure-ignore-tlog=true", "--allow-http-registry"}
	with := func(command, key string, more ...string) []string {
		return slices.Concat([]string{command, "--key", filepath.Join(w.dir, key)}, offline, more, []string{w.image()})
	}
	w.run(t, w.dir, "cosign", with("verify", "key.pub")...)
	out := w.run(t, w.dir, "cosign", with("verify-attestation", "key.pub", "--type", "slsaprovenance1")...)
	var envelope struct{ Payload []byte }
	if err := json.Unmarshal([]byte(out), &envelope); err != nil {
		t.Fatal(err)
	}
	head := strings.TrimSpace(w.run(t, w.reg, "git", "rev-parse", "HEAD"))
	if !strings.Contains(string(envelope.Payload), head) {
		t.Errorf("the provenance does not name the commit %s: %s", head, envelope.Payload)
	}
	w.fails(t, w.dir, "cosign", with("verify-attestation", "other.pub", "--type", "slsaprovenance1")...)
}

func podmanRuns(t *testing.T, w *world) {
	need(t, "runc", "busybox", "crane")
	config := filepath.Join(w.dir, "containers.conf")
	text := `[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
netns = "none"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
`
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	defer func(env []string) { w.env = env }(w.env)
	w.env = append(slices.Clone(w.env), "CONTAINERS_CONF="+config, "STORAGE_DRIVER=vfs")
	dir, err := os.MkdirTemp("", "podman-") // podman wants it short
	if err != nil {
		t.Fatal(err)
	}
	podman := []string{"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run")}
	t.Cleanup(func() {
		_ = w.command(w.dir, "podman", append(podman, "rmi", "--all", "--force")...).Run()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	args := slices.Concat(podman, []string{"run", "--rm", "--tls-verify=false", w.host + "/acme/shout:1.0.0"})
	// The image says what it runs; a param is its argument.
	out := w.run(t, w.dir, "podman", append(args, "sh", "shout.sh", "hello")...)
	if strings.TrimSpace(out) != "hello!" {
		t.Errorf("podman run printed %q", out)
	}
}

// TestSameEverywhere: two clones in other folders, time zones and with other
// masks of modes, by two builds of modyard, give one image.
func TestSameEverywhere(t *testing.T) {
	w := newWorld(t)
	w.run(t, w.reg, "git", "add", "-A")
	w.run(t, w.reg, "git", "commit", "-q", "-m", "all")
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	first := ""
	for i, x := range []struct {
		zone, mask, dir string
		flags           []string
	}{
		{"UTC", "022", "a", nil},
		{"Asia/Kathmandu", "077", "another folder/with a long name", []string{"-trimpath", "-ldflags=-s -w"}},
	} {
		bin := filepath.Join(w.dir, fmt.Sprint("modyard", i))
		build := exec.Command("go", slices.Concat([]string{"build", "-o", bin}, x.flags, []string{"."})...)
		build.Dir = here
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		clone := filepath.Join(w.dir, x.dir)
		script := `umask ` + x.mask + ` && git clone -q "$1" "$2" && cd "$2" && "$3" publish --all --json --dry-run`
		cmd := w.command(w.dir, "sh", "-c", script, "sh", w.reg, clone, bin)
		cmd.Env = append(slices.Clone(w.env), "TZ="+x.zone, "MODYARD_STORE="+clone+" store")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = string(out)
		}
		if !strings.Contains(first, "sha256:") || string(out) != first {
			t.Errorf("the images differ:\n%s\n%s", first, out)
		}
	}
}
