// Package wheels lays out Python packages for an image. It takes wheels alone,
// which are archives: nothing of a package runs while an image is made, and no
// container engine is needed. Start with [Tree].
package wheels

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/modyard/modyard/registry/snapshot"
)

// Target is what the packages are for.
type Target struct {
	Python string // the interpreter's full version, such as 3.12.4
	Arch   string // the processor, as Go names it; the system is linux with glibc
}

// ProblemError says what keeps packages from being laid out, with advice.
type ProblemError struct{ Message, Hint string }

func (e *ProblemError) Error() string { return e.Message }

// machines are the processors as wheels name them.
var machines = map[string]string{"amd64": "x86_64", "arm64": "aarch64", "ppc64le": "ppc64le", "s390x": "s390x"}

// Tree gives the packages of a requirements file that pins all of them with
// hashes, as they lie in a folder that PYTHONPATH names: wheels downloaded by
// the host's pip, without their programs. Fits is the range of interpreters,
// or "". Scratch is a folder for the files, which stay there.
func Tree(ctx context.Context, requirements []byte, fits string, t Target, scratch string) (*snapshot.Tree, error) {
	if err := t.check(fits); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(scratch, "wheels-")
	if err != nil {
		return nil, err
	}
	if err := t.download(ctx, requirements, dir); err != nil {
		return nil, err
	}
	found, err := filepath.Glob(filepath.Join(dir, "wheels", "*.whl"))
	if err != nil {
		return nil, err
	}
	site := filepath.Join(dir, "site")
	if err := os.Mkdir(site, 0o755); err != nil {
		return nil, err
	}
	for i, file := range found { // Glob sorts
		if err := unpack(ctx, file, site, filepath.Join(dir, fmt.Sprint(i))); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
	}
	return snapshot.Data(site)
}

func (t Target) check(fits string) error {
	v, err := semver.NewVersion(t.Python)
	if err != nil {
		return &ProblemError{"the base image does not say which Python it has", "requirements need a base image that sets PYTHON_VERSION, as Docker's python images do"}
	}
	if machines[t.Arch] == "" {
		return &ProblemError{fmt.Sprintf("there are no wheels for the processor %q", t.Arch), "name a base image without that platform"}
	}
	if fits == "" {
		return nil
	}
	c, err := semver.NewConstraint(fits)
	if err != nil {
		return &ProblemError{fmt.Sprintf("%q is no range of Python versions", fits), `write ">=3.9" or ">=3.10, <3.13"`}
	}
	if !c.Check(v) {
		return &ProblemError{fmt.Sprintf("the base image has Python %s, which does not fit %q", t.Python, fits), "name another base image, or another range"}
	}
	return nil
}

// download has pip bring the wheels into dir/wheels.
func (t Target) download(ctx context.Context, requirements []byte, dir string) error {
	file := filepath.Join(dir, "requirements.txt")
	if err := os.WriteFile(file, requirements, 0o644); err != nil {
		return err
	}
	python, err := pip(ctx, dir)
	if err != nil {
		return err
	}
	args := []string{
		"-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--require-hashes", "--only-binary=:all:",
		"--python-version", t.Python, "--implementation", "cp", "--dest", filepath.Join(dir, "wheels"), "--requirement", file,
	}
	// The newest glibc that a supported distribution has, and all before it.
	for minor := 39; minor >= 17; minor-- {
		args = append(args, "--platform", fmt.Sprintf("manylinux_2_%d_%s", minor, machines[t.Arch]))
	}
	args = append(args, "--platform", "manylinux2014_"+machines[t.Arch], "--platform", "linux_"+machines[t.Arch])
	out, err := exec.CommandContext(ctx, python, args...).CombinedOutput()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return &ProblemError{
			fmt.Sprintf("pip cannot get wheels for Python %s on linux/%s: %s", t.Python, t.Arch, last(out)),
			"every package needs a wheel for the platform; leave the requirements to the image else",
		}
	}
	return nil
}

// last is the last error that pip printed, or its last line.
func last(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if text, ok := strings.CutPrefix(lines[i], "ERROR: "); ok {
			return text
		}
	}
	return lines[len(lines)-1]
}

// pip finds a Python with pip: the host's, or one of a virtual environment.
func pip(ctx context.Context, dir string) (string, error) {
	python := ""
	for _, name := range []string{"python3", "python"} {
		found, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if exec.CommandContext(ctx, found, "-m", "pip", "--version").Run() == nil {
			return found, nil
		}
		if python == "" {
			python = found
		}
	}
	venv := filepath.Join(dir, "venv")
	if python == "" || exec.CommandContext(ctx, python, "-m", "venv", venv).Run() != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", &ProblemError{"there is no pip to get the requirements with", "install Python 3 with pip, such as apt-get install python3-pip"}
	}
	if runtime.GOOS == "windows" {
		return filepath.Join(venv, "Scripts", "python.exe"), nil
	}
	return filepath.Join(venv, "bin", "python"), nil
}

// unpack puts what a wheel installs into site. Its programs and headers are
// left out: what is in PYTHONPATH is imported.
func unpack(ctx context.Context, file, site, dir string) error {
	tree, err := snapshot.Archive(ctx, file, filepath.Dir(dir), snapshot.ArchiveOptions{})
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if _, err := tree.Unpack(ctx, dir); err != nil {
		return err
	}
	for _, name := range tree.Files() {
		to, ok := place(name)
		if !ok {
			continue
		}
		src, dst := filepath.Join(dir, filepath.FromSlash(name)), filepath.Join(site, filepath.FromSlash(to))
		if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
			return err
		}
		have, err := os.ReadFile(dst)
		if errors.Is(err, fs.ErrNotExist) {
			if err := os.Rename(src, dst); err != nil {
				return err
			}
			continue
		}
		want, rerr := os.ReadFile(src)
		if err := errors.Join(err, rerr); err != nil {
			return err
		}
		if !bytes.Equal(have, want) {
			return &ProblemError{fmt.Sprintf("two packages bring a different %s", to), "take one of them out of the requirements"}
		}
	}
	return nil
}

// place is where a file of a wheel goes, by the binary distribution format's
// "The .data directory".
func place(name string) (string, bool) {
	first, rest, _ := strings.Cut(name, "/")
	if !strings.HasSuffix(first, ".data") {
		return name, true
	}
	kind, rest, _ := strings.Cut(rest, "/")
	return path.Clean(rest), kind == "purelib" || kind == "platlib"
}
