package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/modyard/modyard/schema"
)

// Names of a registry's files.
const (
	ManifestFile = "registry.yaml"
	ModuleFile   = "module.yaml"
	modulesDir   = "modules"
	versionsDir  = "versions"
)

// Registry is a registry in a folder. It may be used by several goroutines.
type Registry struct {
	*schema.Registry
	// Dir is the folder's path on this disk, or "" when it has none.
	Dir string
	// Commit is the commit that a registry that is elsewhere is read at, or "".
	Commit string
	// Elsewhere brings files of a registry that is not on this disk. Default:
	// nil, there are none.
	Elsewhere Elsewhere

	fsys    fs.FS
	display string // what file names in diagnostics begin with

	mu      sync.Mutex
	names   []string
	modules map[string]*Module
}

// Module is a module of a registry: its manifest and its versions' numbers.
type Module struct {
	*schema.Module
	// Versions are in rising order.
	Versions []*Version

	reg   *Registry
	diags schema.Diagnostics // of module.yaml and the layout
}

// Version is a module version. Its manifest is read by [Version.Manifest].
type Version struct {
	Number *semver.Version
	// Lifecycle is what module.yaml says of it.
	schema.Lifecycle

	module *Module
	path   string // in the registry

	once     sync.Once
	manifest *schema.ModuleVersion
	diags    schema.Diagnostics
	err      error
}

// ErrNoRegistry says that a folder holds no registry.
var ErrNoRegistry = errors.New("no registry here")

// Open reads registry.yaml and lists the modules. Names of files in
// diagnostics begin with display. The diagnostics are those of registry.yaml.
func Open(fsys fs.FS, display string) (*Registry, schema.Diagnostics, error) {
	r := &Registry{fsys: fsys, display: display, modules: map[string]*Module{}}
	var m *schema.Registry
	var diags schema.Diagnostics
	data, err := r.read(ManifestFile, schema.KindRegistry)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, fmt.Errorf("%s: %w", display, ErrNoRegistry)
	case errors.Is(err, errNotPlain):
		diags.Add(r.file(ManifestFile), schema.Pos{}, schema.RuleLayout, "put the file itself there", "%v", err)
	case err != nil:
		return nil, nil, err
	default:
		m, diags = schema.ParseRegistry(r.file(ManifestFile), data)
	}
	if m == nil {
		m = &schema.Registry{}
	}
	r.Registry = m
	entries, err := fs.ReadDir(fsys, modulesDir)
	switch {
	case errors.Is(err, errNotPlain):
		diags.Add(r.file(modulesDir), schema.Pos{}, schema.RuleLayout, "modules/ holds one folder a module", "%q is not a folder", modulesDir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, nil, fmt.Errorf("cannot list the modules of %s: %w", display, err)
	}
	for _, e := range entries {
		if e.IsDir() {
			r.names = append(r.names, e.Name())
		} else if !strings.HasPrefix(e.Name(), ".") {
			diags.Add(r.file(modulesDir, e.Name()), schema.Pos{}, schema.RuleLayout, "modules/ holds one folder a module", "%q is not a folder", e.Name())
		}
	}
	folds := map[string]string{}
	for _, n := range r.names {
		f := schema.Fold(n)
		if first, dup := folds[f]; dup {
			diags.Add(r.file(modulesDir, n), schema.Pos{}, schema.RuleNames, "rename one of them", "the modules %q and %q differ only by case or by - and _", first, n)
		}
		folds[f] = n
	}
	return r, diags, nil
}

// OpenFolder opens the registry in a folder of this disk. Links in it are not
// followed.
func OpenFolder(dir, display string) (*Registry, schema.Diagnostics, error) {
	r, diags, err := Open(plain(dir), display)
	if r != nil {
		r.Dir = dir
	}
	return r, diags, err
}

// file names a file for people.
func (r *Registry) file(elem ...string) string {
	p := path.Join(elem...)
	if r.display == "" || r.display == "." {
		return p
	}
	return strings.TrimSuffix(r.display, "/") + "/" + p // of a URL the slashes stay
}

// read reads a file of the registry, bounded.
func (r *Registry) read(name, kind string) ([]byte, error) {
	f, err := r.fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", r.file(name), err)
	}
	defer f.Close()
	limit := schema.MaxSize(kind)
	var size int64
	if info, err := f.Stat(); err == nil {
		if info.IsDir() {
			return nil, fmt.Errorf("cannot read %s: %w", r.file(name), errNotPlain)
		}
		size = min(info.Size(), limit)
	}
	// One byte beyond the limit tells the parser that there is more.
	buf := make([]byte, 0, size+1)
	for int64(len(buf)) <= limit {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, 4096)
		}
		n, err := f.Read(buf[len(buf):min(int64(cap(buf)), limit+1)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", r.file(name), err)
		}
	}
	return buf, nil
}

// ReadFile reads a small file of the registry, such as a key.
func (r *Registry) ReadFile(name string) ([]byte, error) {
	return r.read(path.Clean(name), schema.KindRegistry)
}

// Names lists the modules, sorted.
func (r *Registry) Names() []string { return r.names }

// NotFoundError says that a module or version does not exist, or may not be
// picked.
type NotFoundError struct{ Message, Hint string }

func (e *NotFoundError) Error() string { return e.Message }

// Module reads a module's manifest and lists its versions. The diagnostics are
// those of module.yaml and the layout.
func (r *Registry) Module(name string) (*Module, schema.Diagnostics, error) {
	r.mu.Lock()
	m, ok := r.modules[name]
	r.mu.Unlock()
	if ok {
		return m, m.diags, nil
	}
	if !slices.Contains(r.names, name) {
		return nil, nil, &NotFoundError{
			fmt.Sprintf("the registry %q has no module %q", r.Name, name),
			schema.DidYouMean(name, r.names),
		}
	}
	m, err := r.load(name)
	if err != nil {
		return nil, nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if first, ok := r.modules[name]; ok {
		m = first
	}
	r.modules[name] = m
	return m, m.diags, nil
}

// forget lets go of what was read of a module.
func (r *Registry) forget(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.modules, name)
}

func (r *Registry) load(name string) (*Module, error) {
	m := &Module{reg: r, Module: &schema.Module{Name: name}}
	dir := path.Join(modulesDir, name)
	if !schema.ValidName(name) {
		m.diags.Add(r.file(dir), schema.Pos{}, schema.RuleLayout, "lower-case letters, digits and hyphens, beginning with a letter", "%q is no name of a module", name)
	}
	data, err := r.read(path.Join(dir, ModuleFile), schema.KindModule)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		m.diags.Add(r.file(dir, ModuleFile), schema.Pos{}, schema.RuleLayout, "modyard new module "+name, "the module %q has no %s", name, ModuleFile)
	case err != nil:
		return nil, err
	default:
		parsed, diags := schema.ParseModule(r.file(dir, ModuleFile), data)
		m.diags = append(m.diags, diags...)
		if parsed != nil {
			if parsed.Name != name && parsed.Name != "" {
				m.diags.Add(parsed.File, parsed.NamePos, schema.RuleLayout, "write name: "+name, "the module in the folder %q is named %q", name, parsed.Name)
			}
			parsed.Name = name
			m.Module = parsed
		}
	}
	return m, m.list(dir)
}

// list finds the versions' files.
func (m *Module) list(dir string) error {
	entries, err := fs.ReadDir(m.reg.fsys, path.Join(dir, versionsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot list the versions of %q: %w", m.Name, err)
	}
	for _, e := range entries {
		name := e.Name()
		p := path.Join(dir, versionsDir, name)
		number, isYAML := strings.CutSuffix(name, ".yaml")
		if strings.HasPrefix(name, ".") {
			continue
		}
		v, err := semver.StrictNewVersion(number)
		if !isYAML || err != nil || v.Metadata() != "" || e.IsDir() {
			m.diags.Add(m.reg.file(p), schema.Pos{}, schema.RuleLayout, "a version's file is named by its semantic version: 1.0.0.yaml", "%q is no file of a version", name)
			continue
		}
		state, _ := m.Module.Versions.Get(number)
		m.Versions = append(m.Versions, &Version{Number: v, Lifecycle: state, module: m, path: p})
	}
	slices.SortFunc(m.Versions, func(a, b *Version) int { return a.Number.Compare(b.Number) })
	return nil
}

// Version finds a version by its exact number.
func (m *Module) Version(number string) (*Version, bool) {
	for _, v := range m.Versions {
		if v.Number.Original() == number {
			return v, true
		}
	}
	return nil, false
}

func (m *Module) numbers() []string {
	out := make([]string, len(m.Versions))
	for i, v := range m.Versions {
		out[i] = v.String()
	}
	return out
}

// String is the version's number.
func (v *Version) String() string { return v.Number.Original() }

// Module is the name of the version's module.
func (v *Version) Module() string { return v.module.Name }

// Registry is the registry that the version is of.
func (v *Version) Registry() *Registry { return v.module.reg }

// Text is the version's file as git stores it: with LF at the end of lines.
func (v *Version) Text() ([]byte, error) {
	data, err := v.module.reg.read(v.path, schema.KindModuleVersion)
	return bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")), err
}

// File is the path of the version's file, for people.
func (v *Version) File() string { return v.module.reg.file(v.path) }

// Path is the path of the version's file in the registry, with /.
func (v *Version) Path() string { return v.path }

// Stable reports whether the version is no pre-release.
func (v *Version) Stable() bool { return v.Number.Prerelease() == "" }

// Manifest reads the version's file, once. The manifest is nil when the
// diagnostics say that the file could not be read as YAML.
func (v *Version) Manifest() (*schema.ModuleVersion, schema.Diagnostics, error) {
	v.once.Do(func() {
		data, err := v.module.reg.read(v.path, schema.KindModuleVersion)
		if err != nil {
			v.err = err
			return
		}
		v.manifest, v.diags = schema.ParseModuleVersion(v.File(), data)
		m := v.manifest
		if m == nil {
			return
		}
		if m.Module.Value != v.module.Name && schema.ValidName(m.Module.Value) {
			v.diags.Add(m.File, m.Module.Pos, schema.RuleLayout, "write module: "+v.module.Name, "the version in the folder of %q names the module %q", v.module.Name, m.Module.Value)
		}
		if _, err := semver.StrictNewVersion(m.Version.Value); err == nil && m.Version.Value != v.String() {
			v.diags.Add(m.File, m.Version.Pos, schema.RuleLayout, "the file is named by its version", "the file of version %s says version %s", v, m.Version.Value)
		}
	})
	return v.manifest, v.diags, v.err
}

// Created is when the version says it was made; the zero time when it does not.
func (v *Version) Created() time.Time {
	m, _, _ := v.Manifest()
	if m == nil {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, m.Created.Value)
	if err != nil {
		return time.Time{}
	}
	return t
}
