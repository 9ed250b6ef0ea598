// Package git reads repositories through the git command line, which alone
// does partial clones, sparse folders and every transport rightly.
package git

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Errors that callers tell apart.
var (
	ErrNoGit        = errors.New("git is not installed")
	ErrNoRepository = errors.New("no git repository")
	ErrNoRevision   = errors.New("no such revision")
	ErrNotTrusted   = errors.New("git does not read a repository that belongs to another user")
)

// maxOutput bounds what one git command may print, in bytes.
const maxOutput = 256 << 20

// Repo is a repository with a working tree.
type Repo struct {
	Root string // the working tree's root, absolute, links resolved

	partial     bool   // made by Fetch or Checkout: a file may have to be fetched
	credentials string // a file of git's credential store that takes the place of the user's helpers
}

// Open finds the repository that dir is in.
func Open(ctx context.Context, dir string) (*Repo, error) {
	out, err := (&Repo{Root: dir}).Output(ctx, "rev-parse", "--show-toplevel")
	if err != nil {
		if errors.Is(err, ErrNoGit) || ctx.Err() != nil {
			return nil, err
		}
		if strings.Contains(err.Error(), "dubious ownership") { // git has no code for it
			return nil, fmt.Errorf("%s: %w", dir, ErrNotTrusted)
		}
		return nil, fmt.Errorf("%s: %w", dir, ErrNoRepository)
	}
	return &Repo{Root: filepath.FromSlash(strings.TrimSpace(string(out)))}, nil
}

// Rel gives the path of an existing file or folder from the root, with /.
func (r *Repo) Rel(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	// The last element may be gone from the working tree; its folder's links count.
	for dir, rest := abs, ""; ; dir, rest = filepath.Dir(dir), filepath.Join(filepath.Base(dir), rest) {
		if resolved, err := filepath.EvalSymlinks(dir); err == nil {
			abs = filepath.Join(resolved, rest)
			break
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	rel, err := filepath.Rel(r.Root, abs)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return "", fmt.Errorf("%s is not in the repository %s", path, r.Root)
	}
	return filepath.ToSlash(rel), nil
}

// Output runs git in the root and returns what it prints.
func (r *Repo) Output(ctx context.Context, args ...string) ([]byte, error) {
	return r.feed(ctx, nil, args...)
}

// feed is Output with something to read.
func (r *Repo) feed(ctx context.Context, in io.Reader, args ...string) ([]byte, error) {
	cmd := r.command(ctx, args...)
	cmd.Stdin = in
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &limited{w: &out, left: maxOutput}, &limited{w: &errs, left: 1 << 16}
	if err := cmd.Run(); err != nil {
		return nil, explain(ctx, args, err, errs.String())
	}
	return out.Bytes(), nil
}

// Commit resolves a revision to the hash of its commit.
func (r *Repo) Commit(ctx context.Context, rev string) (string, error) {
	out, err := r.Output(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", rev+"^{commit}")
	if err != nil {
		if errors.Is(err, ErrNoGit) || ctx.Err() != nil {
			return "", err
		}
		return "", fmt.Errorf("%q: %w", rev, ErrNoRevision)
	}
	return strings.TrimSpace(string(out)), nil
}

func (r *Repo) command(ctx context.Context, args ...string) *exec.Cmd {
	settings := []string{"-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=60", "-c", "core.quotepath=off", "-c", "core.fsmonitor=false", "-c", "log.showSignature=false", "-c", "log.follow=false"}
	if r.credentials != "" {
		// A helper of the user's would keep what worked.
		settings = append(settings, "-c", "credential.helper=", "-c", "credential.helper=store --file='"+filepath.ToSlash(r.credentials)+"'")
	}
	cmd := exec.CommandContext(ctx, "git", append(settings, args...)...)
	cmd.Dir = r.Root
	cmd.Env = append(environ(), "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0", protocols)
	if r.partial {
		// What is missing is asked for by Prefetch alone: git would do so by
		// itself, and, of a host that answers wrongly, without end.
		cmd.Env = append(cmd.Env, "GIT_NO_LAZY_FETCH=1")
	}
	// git's helpers hold its pipes open when it is killed.
	cmd.WaitDelay = time.Second
	return cmd
}

// environ is the environment without what would point git elsewhere, as the
// environment of a git hook does, and without credentials, which git has its
// own ways to ask for.
func environ() []string {
	var env []string
	for _, e := range os.Environ() {
		switch name, _, _ := strings.Cut(e, "="); name {
		case "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR":
		case "GITHUB_TOKEN", "GH_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "AZURE_DEVOPS_TOKEN", "COSIGN_PASSWORD":
		default:
			env = append(env, e)
		}
	}
	return env
}

func explain(ctx context.Context, args []string, err error, stderr string) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return ErrNoGit
	}
	for line := range strings.Lines(stderr) {
		if first := strings.TrimSpace(line); first != "" && !strings.HasPrefix(first, "warning:") {
			return fmt.Errorf("git %s: %w: %s", args[0], err, first)
		}
	}
	return fmt.Errorf("git %s: %w", args[0], err)
}

// TreeEntry is one file of a commit.
type TreeEntry struct {
	Mode   string // 100644, 100755, 120000 (a link), 160000 (a submodule)
	Object string
	Path   string // from the root, with /
}

// Tree lists the files of a commit under path, at any depth.
func (r *Repo) Tree(ctx context.Context, commit, path string) ([]TreeEntry, error) {
	args := []string{"ls-tree", "-r", "-z", "--full-tree", commit}
	if path != "" && path != "." {
		args = append(args, "--", ":(literal)"+path)
	}
	out, err := r.Output(ctx, args...)
	if err != nil {
		return nil, err
	}
	var entries []TreeEntry
	for line := range strings.SplitSeq(string(out), "\x00") {
		meta, name, ok := strings.Cut(line, "\t")
		f := strings.Fields(meta)
		if !ok || len(f) != 3 {
			continue
		}
		entries = append(entries, TreeEntry{f[0], f[2], name})
	}
	return entries, nil
}

// Blobs reads objects in order; each reader is valid during its call only.
func (r *Repo) Blobs(ctx context.Context, objects []string, f func(i int, size int64, content io.Reader) error) (err error) {
	if len(objects) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := r.command(ctx, "cat-file", "--batch")
	cmd.Stdin = strings.NewReader(strings.Join(objects, "\n") + "\n")
	var errs bytes.Buffer
	cmd.Stderr = &limited{w: &errs, left: 1 << 16}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return explain(ctx, []string{"cat-file"}, err, "")
	}
	defer func() {
		if err != nil {
			cancel()
		}
		if werr := cmd.Wait(); err == nil && werr != nil {
			err = explain(ctx, []string{"cat-file"}, werr, errs.String())
		}
	}()
	br := bufio.NewReaderSize(stdout, 64<<10)
	for i := range objects {
		header, err := br.ReadString('\n')
		if err != nil {
			return fmt.Errorf("git cat-file: %w", err)
		}
		fields := strings.Fields(header)
		if len(fields) != 3 || fields[1] != "blob" {
			return fmt.Errorf("git cat-file: %s", strings.TrimSpace(header))
		}
		size, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil {
			return fmt.Errorf("git cat-file: %w", err)
		}
		content := io.LimitReader(br, size)
		if err := f(i, size, content); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, content); err != nil {
			return err
		}
		if _, err := br.Discard(1); err != nil {
			return fmt.Errorf("git cat-file: %w", err)
		}
	}
	return nil
}

// limited passes on so many bytes and then fails.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, errors.New("git printed too much")
	}
	return l.w.Write(p)
}
