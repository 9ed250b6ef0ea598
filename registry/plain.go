package registry

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// errNotPlain says that what should be a plain file or a folder is not.
var errNotPlain = errors.New("it is a link, or neither a file nor a folder as it should be")

// plain is a folder whose links are not followed: in a change that somebody
// proposes they could lead to what a check must not show, or to what never
// ends.
type plain string

// Open opens a file or a folder.
func (p plain) Open(name string) (fs.File, error) {
	fsys := os.DirFS(string(p))
	if name == "." || !fs.ValidPath(name) {
		return fsys.Open(name)
	}
	info, err := os.Lstat(filepath.Join(string(p), filepath.FromSlash(name)))
	if err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errNotPlain}
	}
	return fsys.Open(name)
}

// ReadDir lists a folder.
func (p plain) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := p.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && !info.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errNotPlain}
	}
	return fs.ReadDir(os.DirFS(string(p)), name)
}
