package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/modyard/modyard/schema"
)

// The part of CODEOWNERS that modyard keeps stands between these lines.
const (
	ownersBegin = "# modyard: owners of the modules, kept by `modyard check --fix`\n"
	ownersEnd   = "# modyard: end\n"
)

// ownersFile is where GitHub reads CODEOWNERS: .github of the repository.
func (c *checker) ownersFile() string {
	root := c.reg.Dir
	if c.base.repo != nil {
		root = c.base.repo.Root
	}
	return filepath.Join(root, filepath.FromSlash(ownersPlace(root)))
}

// ownersPlace is the CODEOWNERS that is there, or where it belongs.
func ownersPlace(root string) string {
	for _, p := range ownersPlaces {
		if exists(filepath.Join(root, filepath.FromSlash(p))) {
			return p
		}
	}
	return ownersPlaces[0]
}

func exists(file string) bool {
	_, err := os.Lstat(file)
	return err == nil
}

// ownersName names CODEOWNERS for people.
func (c *checker) ownersName() string {
	root, up := c.reg.Dir, ""
	if c.base.repo != nil {
		root = c.base.repo.Root
	}
	if c.base.prefix != "" {
		up = strings.Repeat("../", strings.Count(c.base.prefix, "/")+1)
	}
	return c.reg.file(up + ownersPlace(root))
}

// ownersBlock is what CODEOWNERS must hold; "" when no module has owners.
func (c *checker) ownersBlock() (string, error) {
	var b strings.Builder
	for _, n := range c.reg.Names() {
		owners, read := c.owners[n]
		if !read {
			m, _, err := c.reg.Module(n)
			if err != nil {
				return "", err
			}
			owners = m.Owners
		}
		if len(owners) == 0 {
			continue
		}
		fmt.Fprintf(&b, "/%s/", strings.ReplaceAll(path.Join(c.base.prefix, modulesDir, n), " ", `\ `))
		for _, o := range owners {
			b.WriteString(" @" + o)
		}
		b.WriteByte('\n')
	}
	if b.Len() == 0 {
		return "", nil
	}
	return ownersBegin + b.String() + ownersEnd, nil
}

func (c *checker) codeowners() error {
	if c.opt.Base != "" && !c.ownersTouched() {
		return nil
	}
	want, err := c.ownersBlock()
	if err != nil {
		return err
	}
	have, err := readOwners(c.ownersFile())
	if err != nil {
		c.res.Diagnostics.Add(c.ownersName(), schema.Pos{}, schema.RuleCodeowners, "a plain file of 3 MB at most, as GitHub has it", "%v", err)
		return nil
	}
	_, got, _ := splitOwners(have)
	if string(got) != want {
		c.res.Diagnostics.Add(c.ownersName(), schema.Pos{}, schema.RuleCodeowners, "modyard check --fix writes it", "CODEOWNERS does not name the owners of the modules as their module.yaml do")
	}
	return nil
}

// ownersTouched reports whether a module.yaml or CODEOWNERS changed.
func (c *checker) ownersTouched() bool {
	for p := range c.base.diff {
		if path.Base(p) == ModuleFile {
			return true
		}
	}
	return c.base.owners
}

// maxOwners is what GitHub reads of CODEOWNERS at most, in bytes.
const maxOwners = 3 << 20

// readOwners reads CODEOWNERS as git stores it.
func readOwners(file string) ([]byte, error) {
	info, err := os.Lstat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err == nil && !info.Mode().IsRegular():
		err = errNotPlain
	case err == nil && info.Size() > maxOwners:
		err = fmt.Errorf("it has %d bytes", info.Size())
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read CODEOWNERS: %w", err)
	}
	return bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")), nil
}

// splitOwners finds the part that modyard keeps.
func splitOwners(data []byte) (before, block, after []byte) {
	i := bytes.Index(data, []byte(ownersBegin))
	if i < 0 {
		return data, nil, nil
	}
	j := bytes.Index(data[i:], []byte(ownersEnd))
	if j < 0 {
		return data[:i], data[i:], nil
	}
	end := i + j + len(ownersEnd)
	return data[:i], data[i:end], data[end:]
}
