package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// IgnoreFile lists, at the root of a snapshot's folder, what is left out: a
// glob a line (*, **, ?, [a-z]); one without a slash matches at any depth, one
// that ends with a slash matches folders; # begins a comment.
const IgnoreFile = ".modyardignore"

var alwaysIgnored = []string{".git", "__pycache__", ".DS_Store", ".modyard"}

// Folder is the tree of a snapshot's working folder: without .git,
// __pycache__, .DS_Store, and what .modyardignore lists.
func Folder(dir string) (*Tree, error) {
	patterns, err := readIgnore(filepath.Join(dir, IgnoreFile))
	if err != nil {
		return nil, err
	}
	return walkFolder(dir, func(name string, isDir bool) bool { return ignored(patterns, name, isDir) }, MaxFiles, MaxBytes)
}

// Data is the tree of a folder of data: nothing is left out.
func Data(dir string) (*Tree, error) {
	return walkFolder(dir, func(string, bool) bool { return false }, 1<<31, 1<<62)
}

func readIgnore(file string) ([]string, error) {
	info, err := os.Lstat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular(): // a link could show what is elsewhere
		return nil, &ProblemError{IgnoreFile, "is no plain file", "put the file itself there"}
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 64<<10+1))
	if err != nil {
		return nil, err
	}
	return parseIgnore(data)
}

func parseIgnore(data []byte) ([]string, error) {
	if len(data) > 64<<10 {
		return nil, &ProblemError{IgnoreFile, "is longer than 64 KiB", ""}
	}
	var patterns []string
	for line := range bytes.Lines(data) {
		p := nfc(strings.TrimSpace(string(line)))
		if p == "" || p[0] == '#' {
			continue
		}
		if p[0] == '!' || !doublestar.ValidatePattern(strings.Trim(p, "/")) {
			return nil, &ProblemError{IgnoreFile, fmt.Sprintf("has the line %q, which is no pattern", p), "the patterns are globs: *, **, ?, [a-z]"}
		}
		patterns = append(patterns, p)
	}
	return patterns, nil
}

func ignored(patterns []string, name string, isDir bool) bool {
	if slices.Contains(alwaysIgnored, path.Base(name)) {
		return true
	}
	for _, p := range patterns {
		body := strings.TrimSuffix(p, "/")
		if body != p && !isDir {
			continue
		}
		if !strings.Contains(body, "/") {
			body = "**/" + body
		}
		if ok, _ := doublestar.Match(strings.TrimPrefix(body, "/"), name); ok {
			return true
		}
	}
	return false
}

// walkFolder lists the files below dir. All problems are reported at once.
func walkFolder(dir string, skip func(name string, isDir bool) bool, maxFiles int, maxBytes int64) (*Tree, error) {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(root); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a folder", dir)
	}
	var files []file
	var problems []error
	var total int64
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if p == root {
			return nil
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		name := nfc(filepath.ToSlash(rel))
		if skip(name, d.IsDir()) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		f, err := folderFile(root, p, name, d)
		if err != nil {
			if _, ok := errors.AsType[*ProblemError](err); !ok || len(problems) > 100 {
				return err
			}
			problems = append(problems, err)
			return nil
		}
		if total += f.size; len(files) >= maxFiles || total > maxBytes {
			return &ProblemError{name, fmt.Sprintf("is one too many: a snapshot has at most %d files and %d GiB", maxFiles, maxBytes>>30),
				"list what the step does not need in " + IgnoreFile + ", and give data as inputs"}
		}
		files = append(files, f)
		return nil
	})
	if err := errors.Join(append(problems, err)...); err != nil {
		return nil, err
	}
	return newTree(files)
}

func folderFile(root, p, name string, d fs.DirEntry) (file, error) {
	var info fs.FileInfo
	var err error
	switch {
	case d.Type()&fs.ModeSymlink != 0:
		target, terr := filepath.EvalSymlinks(p)
		if terr != nil {
			return file{}, &ProblemError{name, "is a link to nothing", "put the file itself there"}
		}
		rel, rerr := filepath.Rel(root, target)
		if rerr != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
			return file{}, &ProblemError{name, "is a link out of the folder", "put the file itself there"}
		}
		if info, err = os.Stat(target); err != nil {
			return file{}, err
		}
		if !info.Mode().IsRegular() {
			return file{}, &ProblemError{name, "is a link to a folder", "only links to files inside the folder become copies"}
		}
		p = target
	default:
		if info, err = d.Info(); err != nil {
			return file{}, err
		}
	}
	if !info.Mode().IsRegular() {
		return file{}, &ProblemError{name, "is neither a file nor a folder", "devices, pipes and sockets cannot be kept"}
	}
	return file{name, info.Size(), func() (io.ReadCloser, error) {
		f, err := os.Open(p)
		if err != nil {
			return nil, err
		}
		if now, err := f.Stat(); err != nil || !now.Mode().IsRegular() || now.Size() != info.Size() || !now.ModTime().Equal(info.ModTime()) {
			f.Close()
			return nil, &ProblemError{name, "changed while the folder was read", "try again when nothing writes to it"}
		}
		return &unchanged{f, name, info}, nil
	}}, nil
}

// unchanged is a file that must be the same at its end as at its beginning.
type unchanged struct {
	*os.File
	name string
	info fs.FileInfo
}

func (u *unchanged) Close() error {
	now, err := u.Stat()
	if err == nil && (now.Size() != u.info.Size() || !now.ModTime().Equal(u.info.ModTime())) {
		err = &ProblemError{u.name, "changed while it was read", "try again when nothing writes to it"}
	}
	return errors.Join(err, u.File.Close())
}
