package main

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"
)

// startRegistry starts a registry of images on loopback, by the distribution
// project's program.
func (b *bench) startRegistry() (addr string, stop func(), err error) {
	text := "version: 0.1\nstorage: {filesystem: {rootdirectory: " + b.path("images") + "}}\nhttp: {addr: '127.0.0.1:0'}\n"
	if err := b.write("registry.yml", text); err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(b.ctx, "registry", "serve", b.path("registry.yml"))
	cmd.Env = []string{"OTEL_TRACES_EXPORTER=none"}
	said, err := cmd.StderrPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	found := make(chan string, 1)
	go func() {
		where := regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`)
		for lines := bufio.NewScanner(said); lines.Scan(); {
			if m := where.FindStringSubmatch(lines.Text()); m != nil {
				found <- m[1]
			}
		}
	}()
	select {
	case addr = <-found:
		return addr, stop, nil
	case <-time.After(time.Minute):
		stop()
		return "", nil, errors.New("the registry does not listen")
	}
}

// images publishes and pulls a module with many files.
func (b *bench) images() error {
	for _, tool := range []string{"registry", "crane", "oras", "skopeo", "umoci"} {
		if _, err := exec.LookPath(tool); err != nil {
			b.row("publish and pull", "", tool+" is not installed", "", "")
			return nil
		}
	}
	host, stop, err := b.startRegistry()
	if err != nil {
		return err
	}
	defer stop()
	files := b.size(10_000, 100)
	if err := b.module(files, 100<<10); err != nil {
		return err
	}
	what := fmt.Sprintf("%d files, %d MB", files, files*100>>10)
	publish := func(version string) (used, error) {
		return b.cmd(b.exe, "-C", "reg", "publish", "large@"+version, "--to", host+"/ours")
	}
	full, err := publish("1.0.0")
	if err != nil {
		return err
	}
	for _, p := range []struct{ name, script string }{
		{"tar and crane append", `tar -cf tree.tar -C reg/modules/large src && crane append --oci-empty-base -f tree.tar -t "$0/crane:1"`},
		{"oras push", `cd reg/modules/large && oras push --plain-http "$0/oras:1" src`},
	} {
		u, err := b.cmd("sh", "-c", p.script, host)
		if err != nil {
			return err
		}
		b.row("publish "+what, describe(full), p.name+" "+ms(u.wall), ratio(full.wall, u.wall), "< 1, ≤ 256 MB")
	}
	again, err := publish("1.0.0")
	if err != nil {
		return err
	}
	b.row("publish again, unchanged", describe(again), "", "", "≤ 0.1 s")
	if err := b.write("reg/modules/large/src/00/f0", "another\n"); err != nil {
		return err
	}
	if _, err := b.cmd(b.exe, "-C", "reg", "new", "version", "large", "--bump", "patch"); err != nil {
		return err
	}
	changed, err := publish("1.0.1")
	if err != nil {
		return err
	}
	b.row("publish after one file changed", describe(changed), "the first "+ms(full.wall), ratio(changed.wall, full.wall), "one layer")
	return b.pulls(host, what)
}

// pulls reads what images has published.
func (b *bench) pulls(host, what string) error {
	if err := b.write("reg/registry.yaml", "apiVersion: modyard.dev/v1\nkind: Registry\nname: bench\ndescription: Bench.\nimages: "+host+"/ours\n"); err != nil {
		return err
	}
	if err := os.Rename(b.path("reg/modules/large/src"), b.path("src")); err != nil {
		return err
	}
	pull, err := b.best(2, b.aside("store"), b.exe, "-C", "reg", "pull", "large@1.0.0")
	if err != nil {
		return err
	}
	for _, p := range []struct{ name, script string }{
		{"crane export | tar x", `mkdir exported && crane export "$0/ours/large:1.0.0" - | tar -x -C exported`},
		{"skopeo copy and umoci unpack", `skopeo copy -q --src-tls-verify=false "docker://$0/ours/large:1.0.0" oci:lay:1 && umoci unpack --rootless --image lay:1 bundle`},
	} {
		u, err := b.best(2, b.aside("exported", "lay", "bundle"), "sh", "-c", p.script, host)
		if err != nil {
			return err
		}
		b.row("pull, verify and unpack "+what, describe(pull), p.name+" "+ms(u.wall), ratio(pull.wall, u.wall), "< 1, ≤ 256 MB")
	}
	return nil
}

// module makes a registry with one module of so many files.
func (b *bench) module(files, size int) error {
	if err := b.write("reg/registry.yaml", "apiVersion: modyard.dev/v1\nkind: Registry\nname: bench\ndescription: Bench.\n"); err != nil {
		return err
	}
	if err := b.write("reg/modules/large/module.yaml", "apiVersion: modyard.dev/v1\nkind: Module\nname: large\ndescription: Has many files.\n"); err != nil {
		return err
	}
	manifest := "apiVersion: modyard.dev/v1\nkind: ModuleVersion\nmodule: large\nversion: 1.0.0\ndescription: Has many files.\noutputs: {o: {type: file}}\nrun: {command: [cp, 00/f0, '${{ outputs.o }}']}\nsnapshot: {folder: ../src}\n"
	if err := b.write("reg/modules/large/versions/1.0.0.yaml", manifest); err != nil {
		return err
	}
	random := rand.NewChaCha8([32]byte{})
	data := make([]byte, size/2)
	for i := range files {
		_, _ = random.Read(data)
		if err := b.write(filepath.Join("reg/modules/large/src", fmt.Sprintf("%02d", i%100), fmt.Sprint("f", i)), hex.EncodeToString(data)); err != nil {
			return err
		}
	}
	_, err := b.cmd(b.exe, "-C", "reg", "check", "--fix")
	return err
}

// shared reuses the results of another machine.
func (b *bench) shared() error {
	if _, err := exec.LookPath("registry"); err != nil {
		b.row("results from a registry", "", "registry is not installed", "", "")
		return nil
	}
	where, back := b.inMemory()
	defer back()
	host, stop, err := b.startRegistry()
	if err != nil {
		return err
	}
	defer stop()
	n := b.size(1000, 50)
	p, err := b.pipelineOf(n)
	if err != nil {
		return err
	}
	at := func(local string) string {
		return "oci://" + host + "/results?unsigned=yes&host=yes&local=" + b.path(local)
	}
	first, err := b.cmd(b.exe, "run", p, "--store", at("one"))
	if err != nil {
		return err
	}
	again, err := b.best(3, b.aside("two"), b.exe, "run", p, "--store", at("two"))
	if err != nil {
		return err
	}
	b.row(fmt.Sprintf("%d results from a registry, empty store%s", n, where), describe(again), "the first run "+ms(first.wall), ratio(again.wall, first.wall), "≤ 3 s, ≤ 256 MB")
	return nil
}

func describe(u used) string { return fmt.Sprintf("%s, %d MB of memory", ms(u.wall), u.rss>>20) }
