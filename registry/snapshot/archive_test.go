package snapshot_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/unicode/norm"

	"github.com/modyard/modyard/registry/snapshot"
)

// entry is one entry of an archive that a test makes.
type entry struct {
	name, body string
	kind       byte // of tar. Default: a file
	link       string
	format     tar.Format
}

// names makes an entry of each name: a folder when it ends with a slash.
func names(names ...string) []entry {
	var out []entry
	for _, n := range names {
		e := entry{name: n, body: "x"}
		if strings.HasSuffix(n, "/") {
			e.kind, e.body = tar.TypeDir, ""
		}
		out = append(out, e)
	}
	return out
}

func symlink(name, target string) entry {
	return entry{name: name, kind: tar.TypeSymlink, link: target}
}

func hardLink(name, target string) entry {
	return entry{name: name, kind: tar.TypeLink, link: target}
}

// under puts entries into a folder.
func under(folder string, entries []entry) []entry {
	entries = slices.Clone(entries)
	for i, e := range entries {
		entries[i].name = folder + "/" + e.name
		if e.kind == tar.TypeLink {
			entries[i].link = folder + "/" + e.link
		}
	}
	return entries
}

// tarred makes a tar. Modes, owners and times say nothing.
func tarred(tb testing.TB, entries []entry) []byte {
	tb.Helper()
	var b bytes.Buffer
	writeTar(tb, &b, entries)
	return b.Bytes()
}

func writeTar(tb testing.TB, out io.Writer, entries []entry) {
	tb.Helper()
	w := tar.NewWriter(out)
	for i, e := range entries {
		h := &tar.Header{
			Name: e.name, Typeflag: e.kind, Linkname: e.link, Size: int64(len(e.body)), Format: e.format,
			Mode: []int64{0o644, 0o755, 0o4400, 0}[i%4], Uid: i % 7, Uname: "someone", ModTime: time.Unix(int64(i)*1e8, 0),
		}
		switch e.kind {
		case 0:
			h.Typeflag = tar.TypeReg
		case tar.TypeXGlobalHeader:
			h = &tar.Header{Typeflag: e.kind, PAXRecords: map[string]string{"comment": e.body}}
		}
		if err := w.WriteHeader(h); err != nil {
			tb.Fatalf("%.100q: %v", e.name, err)
		}
		if e.kind != tar.TypeXGlobalHeader {
			if _, err := io.WriteString(w, e.body); err != nil {
				tb.Fatalf("%.100q: %v", e.name, err)
			}
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
}

func gzipped(tb testing.TB, data []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data)
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func zstded(tb testing.TB, data []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20))
	if err != nil {
		tb.Fatal(err)
	}
	w.Write(data)
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// zipped makes a zip, or nothing where a zip cannot hold the entries. Every
// other file is stored as it is.
func zipped(tb testing.TB, entries []entry) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: []uint16{zip.Store, zip.Deflate}[i%2], Modified: time.Unix(int64(i)*1e8, 0)}
		mode := fs.FileMode(0o644)
		switch e.kind {
		case 0:
		case tar.TypeDir:
			mode |= fs.ModeDir
		case tar.TypeSymlink:
			mode |= fs.ModeSymlink
			e.body = e.link
		case tar.TypeFifo:
			mode |= fs.ModeNamedPipe
		case tar.TypeChar:
			mode |= fs.ModeDevice | fs.ModeCharDevice
		case tar.TypeBlock:
			mode |= fs.ModeDevice
		default:
			return nil
		}
		h.SetMode(mode)
		f, err := w.CreateHeader(h)
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := io.WriteString(f, e.body); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.SetComment("as a zip may have"); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

var kinds = []struct {
	name string
	pack func(tb testing.TB, entries []entry) []byte
}{
	{"tar", tarred},
	{"tar.gz", func(tb testing.TB, e []entry) []byte { return gzipped(tb, tarred(tb, e)) }},
	{"tar.zst", func(tb testing.TB, e []entry) []byte { return zstded(tb, tarred(tb, e)) }},
	{"zip", zipped},
}

// outside is a name beyond every scratch folder.
var outside = filepath.ToSlash(filepath.Join(os.TempDir(), "modyard-was-here"))

// ours is how what is unpacked may be named, below the scratch folder.
var ours = regexp.MustCompile(`^(|archive-\d+(/\d+)?)$`)

// taken reads an archive and unpacks it, and checks that nothing is written
// but files below the scratch folder and what Unpack is to write.
func taken(tb testing.TB, data []byte, opt snapshot.ArchiveOptions) (*snapshot.Tree, error) {
	tb.Helper()
	return takenFile(tb.Context(), tb, data, opt)
}

func takenFile(ctx context.Context, tb testing.TB, data []byte, opt snapshot.ArchiveOptions) (*snapshot.Tree, error) {
	tb.Helper()
	dir := tb.TempDir()
	tb.Chdir(dir) // whatever is written by a relative name is found
	for _, sub := range []string{"scratch", "out"} {
		if err := os.Mkdir(sub, 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	if err := os.WriteFile("archive", data, 0o644); err != nil {
		tb.Fatal(err)
	}
	tree, err := snapshot.Archive(ctx, filepath.Join(dir, "archive"), filepath.Join(dir, "scratch"), opt)
	onlyScratch(tb, dir)
	if err == nil && tree.Size() < 1<<30 {
		sameUnpacked(tb, tree, filepath.Join(dir, "out"))
		onlyScratch(tb, dir)
	}
	return tree, err
}

func onlyScratch(tb testing.TB, dir string) {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		tb.Errorf("beside the scratch folder there is %v: %v", entries, err)
	}
	scratch := filepath.Join(dir, "scratch")
	err = filepath.WalkDir(scratch, func(p string, d fs.DirEntry, err error) error {
		name := filepath.ToSlash(strings.TrimPrefix(strings.TrimPrefix(p, scratch), string(filepath.Separator)))
		if err == nil && (!ours.MatchString(name) || !d.IsDir() && !d.Type().IsRegular()) {
			tb.Errorf("in the scratch folder is %q", p)
		}
		return err
	})
	if err != nil {
		tb.Error(err)
	}
	if _, err := os.Lstat(outside); !errors.Is(err, fs.ErrNotExist) {
		tb.Errorf("%s is there: %v", outside, err)
	}
}

// sameUnpacked checks that a tree and what it is unpacked to are the same.
func sameUnpacked(tb testing.TB, tree *snapshot.Tree, out string) {
	tb.Helper()
	want := digest(tb, tree)
	if got, err := tree.Unpack(tb.Context(), out); err != nil || got.Digest != want || got.Files != len(tree.Files()) || got.Size != tree.Size() {
		tb.Errorf("%q is unpacked as %+v, not %s: %v", tree.Files(), got, want, err)
	}
	again, err := snapshot.Data(out)
	if err != nil {
		tb.Error(err)
	} else if got := digest(tb, again); got != want {
		tb.Errorf("unpacked and taken again it is %s, not %s", got, want)
	}
}

// sample is a tree: as files of a folder, and as entries of an archive.
func sample(tb testing.TB) (dir string, entries []entry) {
	tb.Helper()
	entries = []entry{
		{name: ".modyardignore", body: "*.log\n"},
		{name: "a.txt", body: "one\n"},
		{name: "copy", body: "one\n"},
		{name: "d/b.py", body: strings.Repeat("print()\n", 200)},
		{name: "d/e/empty"},
		{name: "d/e/copy", body: "one\n"},
		{name: "d/noise", body: noise(20_000)},
		{name: "ü/é", body: "é"},
		{name: strings.Repeat("n", 80) + "/" + strings.Repeat("n", 80), body: "a long name"},
	}
	dir = tb.TempDir()
	for _, e := range entries {
		put(tb, dir, e.name, e.body)
	}
	return dir, entries
}

// noise is bytes that do not become fewer.
func noise(n int) string {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return string(b)
}

// TestArchive: one tree has one digest, whatever archive it is in.
func TestArchive(t *testing.T) {
	dir, all := sample(t)
	want := digest(t, folder(t, dir))
	change := func(f func(e *entry)) []entry {
		out := slices.Clone(all)
		for i := range out {
			f(&out[i])
		}
		return out
	}
	instead := func(links ...entry) []entry {
		out := slices.Clone(all)
		for _, l := range links {
			out[slices.IndexFunc(out, func(e entry) bool { return e.name == path.Clean(l.name) })] = l
		}
		return out
	}
	reversed := func(entries []entry) []entry {
		out := slices.Clone(entries)
		slices.Reverse(out)
		return out
	}
	hard := instead(hardLink("copy", "a.txt"), hardLink("d/e/copy", "a.txt"))
	links := instead(symlink("copy", "a.txt"), symlink("d/e/copy", "../../a.txt"))
	global := entry{kind: tar.TypeXGlobalHeader, body: strings.Repeat("0", 40)}
	beside := append(names("README", "src2/a", "d/", "src.txt"), symlink("bad", outside), symlink("src3", "src"), entry{name: "pipe", kind: tar.TypeFifo})
	for _, c := range []struct {
		name    string
		opt     snapshot.ArchiveOptions
		entries []entry
	}{
		{"as it is", snapshot.ArchiveOptions{}, all},
		{"in another order", snapshot.ArchiveOptions{}, reversed(all)},
		{"with ./", snapshot.ArchiveOptions{}, append(names("./"), under(".", all)...)},
		{"with more slashes", snapshot.ArchiveOptions{}, change(func(e *entry) { e.name = strings.ReplaceAll(e.name, "/", "/.//") })},
		{"with folders", snapshot.ArchiveOptions{}, append(names("d/", "d/e/", "ü/", "nothing/", "nothing/at/all/", "/"), all...)},
		{"with what is left out", snapshot.ArchiveOptions{}, append(append(
			names(".git/config", "d/.git/x", "__pycache__/a.pyc", "d/__pycache__/b", ".DS_Store", "d/.DS_Store", "x.log", "d/y.log", "z.log/in/it", ".modyard/x", "NUL.log", "d/X.log", "d/x.log"),
			symlink("link.log", "nothing"), entry{name: "pipe.log", kind: tar.TypeFifo}), all...)},
		{"with decomposed names", snapshot.ArchiveOptions{}, change(func(e *entry) { e.name = norm.NFD.String(e.name) })},
		{"with links", snapshot.ArchiveOptions{}, links},
		{"with links before what they lead to", snapshot.ArchiveOptions{}, reversed(links)},
		{"with links to links", snapshot.ArchiveOptions{}, instead(symlink("copy", "./d/e/copy"), symlink("d/e/copy", "../e/../../a.txt"))},
		{"with links to what is left out", snapshot.ArchiveOptions{}, append(instead(symlink("copy", ".git/one")), entry{name: ".git/one", body: "one\n"})},
		{"with hard links", snapshot.ArchiveOptions{}, hard},
		{"with hard links before what they lead to", snapshot.ArchiveOptions{}, reversed(hard)},
		{"with hard links to links", snapshot.ArchiveOptions{}, instead(symlink("copy", "a.txt"), hardLink("d/e/copy", "copy"))},
		{"with hard links and ./", snapshot.ArchiveOptions{}, under(".", hard)},
		{"with a global header", snapshot.ArchiveOptions{}, append([]entry{global}, all...)},
		{"as PAX", snapshot.ArchiveOptions{}, change(func(e *entry) { e.format = tar.FormatPAX })},
		{"as GNU", snapshot.ArchiveOptions{}, change(func(e *entry) { e.format = tar.FormatGNU })},

		{"one folder deep", snapshot.ArchiveOptions{Strip: 1}, append(names("top/"), under("top", links)...)},
		{"one folder deep, like GitHub's", snapshot.ArchiveOptions{Strip: 1}, append([]entry{global}, append(names("top/"), under("top", hard)...)...)},
		{"one folder deep, with ./", snapshot.ArchiveOptions{Strip: 1}, under("./top", all)},
		{"two folders deep", snapshot.ArchiveOptions{Strip: 2}, append(names("README", "x/README"), under("x/y", hard)...)},
		{"in several folders", snapshot.ArchiveOptions{Strip: 1}, append(under("x", all[:4]), under("y", all[4:])...)},
		{"at a path", snapshot.ArchiveOptions{Path: "src"}, append(under("src", links), beside...)},
		{"at a path with slashes", snapshot.ArchiveOptions{Path: "/src/./"}, append(beside, under("src", hard)...)},
		{"at a path, deep", snapshot.ArchiveOptions{Strip: 1, Path: "src/x"}, under("top", append(under("src/x", hard), beside...))},
		{"at a path, with links by way of its name", snapshot.ArchiveOptions{Path: "src"}, under("src", instead(symlink("copy", "../src/a.txt")))},
	} {
		for _, k := range kinds {
			data := k.pack(t, c.entries)
			if data == nil {
				continue
			}
			t.Run(k.name+" "+c.name, func(t *testing.T) {
				tree, err := taken(t, data, c.opt)
				if err != nil {
					t.Fatal(err)
				}
				if got := digest(t, tree); got != want {
					t.Errorf("the digest is %s, want %s; the files are %q", got, want, tree.Files())
				}
			})
		}
	}
}

// TestArchivesOfOthers: what git and Python make of a folder, links and all.
func TestArchivesOfOthers(t *testing.T) {
	_, all := sample(t)
	repo := newRepo(t)
	for _, e := range all {
		put(t, repo.Root, "src/"+e.name, e.body)
	}
	src := filepath.Join(repo.Root, "src")
	link(t, src, "d/link", "../a.txt")
	if err := os.Link(filepath.Join(src, "a.txt"), filepath.Join(src, "z")); err != nil {
		t.Fatal(err)
	}
	want := digest(t, folder(t, src))
	repo.commit(t)
	check := func(name string, file string, opt snapshot.ArchiveOptions) {
		t.Helper()
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := taken(t, data, opt)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := digest(t, tree); got != want {
			t.Errorf("%s: the digest is %s, want %s; the files are %q", name, got, want, tree.Files())
		}
	}
	out := t.TempDir()
	for _, format := range []string{"tar", "zip", "tar.gz"} {
		file := filepath.Join(out, "git."+format)
		repo.git(t, "archive", "-o", file, "--prefix=top-1.0/", "HEAD", "src")
		check("git archive "+format, file, snapshot.ArchiveOptions{Strip: 1, Path: "src"})
		repo.git(t, "archive", "-o", file, "HEAD:src")
		check("git archive "+format+" of a folder", file, snapshot.ArchiveOptions{})
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	const program = `
import os, shutil, sys, tarfile, zipfile
out, root = sys.argv[1:]
for name, form in ("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT):
    with tarfile.open(f"{out}/{name}.tar.gz", "w:gz", format=form) as t:
        t.add("src")
shutil.make_archive(out + "/shutil", "tar", root, "src")
shutil.make_archive(out + "/shutil", "zip", root, "src")
with zipfile.ZipFile(out + "/zip64.zip", "w") as z:
    for folder, _, files in os.walk("src"):
        for f in files:
            with z.open(zipfile.ZipInfo(f"{folder}/{f}"), "w", force_zip64=True) as e, open(f"{folder}/{f}", "rb") as i:
                shutil.copyfileobj(i, e)
`
	cmd := exec.Command(python, "-X", "utf8", "-c", program, out, repo.Root)
	cmd.Dir = repo.Root
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, name := range []string{"ustar.tar.gz", "gnu.tar.gz", "pax.tar.gz", "shutil.tar", "shutil.zip", "zip64.zip"} {
		check(name+" by Python", filepath.Join(out, name), snapshot.ArchiveOptions{Strip: 1})
	}
}

// hostile is an archive that is refused with a text, or holds harmless files.
type hostile struct {
	name     string
	data     []byte
	opt      snapshot.ArchiveOptions
	says     string
	harmless []string
}

// hostiles is the corpus, but for what is large.
func hostiles(tb testing.TB) []hostile {
	long := strings.Repeat("n", 300)
	loop := func(n int) (chain []entry) {
		for i := range n {
			chain = append(chain, symlink(fmt.Sprintf("l%d", i), fmt.Sprintf("l%d", i+1)))
		}
		return chain
	}
	with := func(files []entry, more ...entry) []entry { return append(slices.Clone(files), more...) }
	a := names("a")
	src := snapshot.ArchiveOptions{Path: "src"}
	var all []hostile
	for _, c := range []struct {
		name     string
		entries  []entry
		opt      snapshot.ArchiveOptions
		says     string
		harmless []string
	}{
		{name: "up", entries: names("../x"), says: `"../x"`},
		{name: "up from a folder", entries: names("a/../../x"), says: `"a/../../x"`},
		{name: "up and down", entries: names("a/../x"), says: `"a/../x"`},
		{name: "up after a dot", entries: names("./../x"), says: `"./../x"`},
		{name: "up at the end", entries: names("a/.."), says: `"a/.."`},
		{name: "up alone", entries: names(".."), says: `".."`},
		{name: "a folder up", entries: names("a", "../"), says: `"../"`},
		{name: "up, beside what is wanted", entries: names("src/a", "top/../../x"), opt: snapshot.ArchiveOptions{Strip: 1}, says: `"top/../../x"`},
		{name: "absolute", entries: names(outside), says: fmt.Sprintf("%q", outside)},
		{name: "absolute, more so", entries: names("/" + outside), says: fmt.Sprintf("%q", "/"+outside)},
		{name: "up with backslashes", entries: names(`..\x`), says: `"..\\x"`},
		{name: "up with backslashes from a folder", entries: names(`a/..\..\x`), says: `"a/..\\..\\x"`},
		{name: "backslashes", entries: names(`a\b`), says: `"a\\b"`},
		{name: "a drive", entries: names(`C:\x`), says: `"C:\\x"`},
		{name: "a drive with /", entries: names(`C:/x`), says: `"C:/x"`},
		{name: "a share", entries: names(`\\host\share\x`), says: `"\\\\host\\share\\x"`},
		{name: "a stream", entries: names("a:b"), says: `"a:b"`},
		{name: "devices", entries: names("con"), says: `"con"`},
		{name: "a device with an ending", entries: names("d/NUL.txt"), says: `"d/NUL.txt"`},
		{name: "a folder named as a device", entries: names("Com1/x"), says: `"Com1/x"`},
		{name: "a dot at the end", entries: names("a."), says: `"a."`},
		{name: "a space at the end", entries: names("d /a"), says: `"d /a"`},
		{name: "a line end", entries: names("a\n::error::b"), says: `"a\n::error::b"`},
		{name: "an escape", entries: names("a\x1b[2J"), says: `"a\x1b[2J"`},
		{name: "no UTF-8", entries: names("a\xff"), says: `"a\xff"`},
		{name: "a long element", entries: names(long), says: long},
		{name: "a long path", entries: names(strings.Repeat("d/", 600) + "x"), says: `d/d/x"`},

		{name: "twice", entries: names("a", "b", "a"), says: `"a" is there twice`},
		{name: "twice, with ./", entries: names("a", "./a"), says: `"a" is there twice`},
		{name: "twice, with //", entries: names("d//a", "d/a"), says: `"d/a" is there twice`},
		{name: "a file and a link", entries: with(names("a", "b"), symlink("b", "a")), says: `"b" is there twice`},
		{name: "a link and a file", entries: append([]entry{symlink("b", "a")}, names("a", "b")...), says: `"b" is there twice`},
		{name: "two links", entries: with(a, symlink("b", "a"), symlink("b", "./a")), says: `"b" is there twice`},
		{name: "two pipes and a file", entries: with(a, entry{name: "a", kind: tar.TypeFifo}), says: `"a"`},
		{name: "twice in two folders", entries: names("x/a", "y/a"), opt: snapshot.ArchiveOptions{Strip: 1}, says: "would have the same name"},
		{name: "clash by case", entries: names("a", "A"), says: `"a" clashes with "A"`},
		{name: "clash by the case of a folder", entries: names("d/x", "D/y"), says: `"d/x" clashes with "D"`},
		{name: "clash beyond ASCII", entries: names("straße", "STRASSE"), says: `clashes`},
		{name: "clash of letters composed and not", entries: names("\u00e9", "e\u0301"), says: `"é" clashes`},
		{name: "a file and a folder", entries: names("a", "a/b"), says: `"a/b" clashes with "a"`},
		{name: "a folder and a file", entries: names("a/b", "a"), says: `"a/b" clashes with "a"`},
		{name: "a file and a folder with nothing", entries: names("a", "a/"), harmless: []string{"a"}},

		{name: "a link up", entries: with(a, symlink("b", "../x")), says: `"b" is a link`},
		{name: "a link up from a folder", entries: with(a, symlink("d/b", "../../x")), says: `"d/b" is a link`},
		{name: "an absolute link", entries: with(a, symlink("b", outside)), says: `"b" is a link`},
		{name: "an absolute link to what the archive has", entries: with(names(strings.TrimPrefix(outside, "/")), symlink("b", outside)), says: `"b" is a link`},
		{name: "a link to nothing", entries: with(a, symlink("b", "nothing")), says: `"b" is a link to no file`},
		{name: "a link to a folder", entries: with(names("d/a"), symlink("b", "d")), says: `"b" is a link to no file`},
		{name: "a link to the root", entries: with(a, symlink("b", ".")), says: `"b" is a link to no file`},
		{name: "a link to a pipe", entries: with(a, entry{name: "p", kind: tar.TypeFifo}, symlink("b", "p")), says: `"b" is a link to no file`},
		{name: "a link that is no text", entries: with(a, symlink("b", "\xff/../a")), harmless: []string{"a", "b"}},
		{name: "a long link", entries: with(a, symlink("b", strings.Repeat("./", 3000)+"a")), says: `"b" is a link to nothing`},
		{name: "a link to itself", entries: with(a, symlink("b", "b")), says: `"b" is a link to no file`},
		{name: "links in a circle", entries: with(a, symlink("b", "c"), symlink("c", "d"), symlink("d", "b")), says: `"c" is a link to no file`},
		{name: "a chain of links", entries: with(loop(20), names("l20")...), harmless: append([]string{"l20"}, entryNames(loop(20))...)},
		{name: "a chain of too many links", entries: with(loop(60), names("l60")...), says: `"l0" is a link to no file`},
		{name: "through a link", entries: []entry{symlink("d", path.Dir(outside)), {name: "d/" + path.Base(outside), body: "x"}}, says: `"d" is a link`},
		{name: "through a link within", entries: append([]entry{symlink("d", "e")}, names("e/a", "d/b")...), says: `"d" is a link`},
		{name: "through a link to a link", entries: with(names("e/a"), symlink("d", "e"), symlink("b", "d/a")), says: `"b" is a link`},
		{name: "a link out of the part", entries: with(names("src/a", "other"), symlink("src/b", "../other")), opt: src, says: `b" is a link`},
		{name: "a link out of the part and back", entries: with(names("src/a"), symlink("src/b", "../c"), symlink("c", "src/a")), opt: src, says: `b" is a link`},
		{name: "a hard link up", entries: with(a, hardLink("b", "../x")), says: `"b" is a link`},
		{name: "a hard link up from a folder", entries: with(a, hardLink("d/b", "../x")), says: `"d/b" is a link`},
		{name: "an absolute hard link", entries: with(a, hardLink("b", outside)), says: `"b" is a link`},
		{name: "an absolute hard link from a folder", entries: with(a, hardLink("d/b", outside)), says: `"d/b" is a link`},
		{name: "a hard link to a folder", entries: with(names("d/", "d/a"), hardLink("b", "d")), says: `"b" is a link to no file`},
		{name: "a hard link to itself", entries: with(a, hardLink("b", "b")), says: `"b" is a link to no file`},
		{name: "a hard link to nothing", entries: with(a, hardLink("d/b", "")), says: `"d/b" is a link`},
		{name: "a hard link out of the part", entries: with(names("src/a", "other"), hardLink("src/b", "other")), opt: src, says: `b" is a link`},
		{name: "a hard link and a file", entries: with(names("a", "b"), hardLink("b", "a")), says: `"b" is there twice`},

		{name: "a character device", entries: with(a, entry{name: "d/null", kind: tar.TypeChar}), says: `"d/null" is neither`},
		{name: "a block device", entries: with(a, entry{name: "sda", kind: tar.TypeBlock}), says: `"sda" is neither`},
		{name: "a pipe", entries: with(a, entry{name: "p", kind: tar.TypeFifo}), says: `"p" is neither`},
		{name: "an unknown kind", entries: with(a, entry{name: "z", kind: 'Z', body: "x"}), says: `"z" is neither`},
		{name: "a list of patterns that is none", entries: []entry{{name: ".modyardignore", body: "[a\n"}}, says: `".modyardignore"`},
		{name: "a list of patterns that is long", entries: []entry{{name: ".modyardignore", body: strings.Repeat("x\n", 40<<10)}}, says: `".modyardignore"`},
		{name: "nothing at the path", entries: a, opt: snapshot.ArchiveOptions{Path: "b"}, says: `nothing at "b"`},
		{name: "a file at the path", entries: a, opt: snapshot.ArchiveOptions{Path: "a"}, says: `nothing at "a"`},
		{name: "nothing so deep", entries: a, opt: snapshot.ArchiveOptions{Strip: 1}, says: "nothing at"},
		{name: "a path up", entries: names("a"), opt: snapshot.ArchiveOptions{Path: "../a"}, says: "nothing at"},
		{name: "no name", entries: names("./", "/", "a"), harmless: []string{"a"}},
	} {
		for _, k := range kinds {
			if data := k.pack(tb, c.entries); data != nil {
				all = append(all, hostile{k.name + " " + c.name, data, c.opt, c.says, c.harmless})
			}
		}
	}
	return append(append(all, hostileTars(tb)...), hostileZips(tb)...)
}

func entryNames(entries []entry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, e.name)
	}
	return out
}

// block is a header of a tar, made by hand.
func block(name string, kind byte, size int64, more func(b []byte)) []byte {
	b := make([]byte, 512)
	copy(b, name)
	copy(b[100:], "0000644\x000000000\x000000000\x00")
	copy(b[124:], fmt.Sprintf("%011o\x00%011o\x00", size, 0))
	b[156] = kind
	copy(b[257:], "ustar  \x00")
	if more != nil {
		more(b)
	}
	sum := 8 * int(' ')
	for i, c := range b {
		if i < 148 || i >= 156 {
			sum += int(c)
		}
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

// padded fills the last block.
func padded(s string) string { return s + strings.Repeat("\x00", -len(s)&511) }

// records is a header with PAX records.
func records(pairs ...string) []byte {
	var text strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		rest := " " + pairs[i] + "=" + pairs[i+1] + "\n"
		n := len(rest) + len(fmt.Sprint(len(rest)))
		if len(fmt.Sprint(n)) != len(fmt.Sprint(len(rest))) {
			n++
		}
		text.WriteString(fmt.Sprint(n) + rest)
	}
	return append(block("x", tar.TypeXHeader, int64(len(text.String())), func(b []byte) { copy(b[257:], "ustar\x0000") }), padded(text.String())...)
}

const tarEnd = 1024

func join(parts ...[]byte) []byte { return slices.Concat(append(parts, make([]byte, tarEnd))...) }

// hostileTars is what archive/tar does not write.
func hostileTars(tb testing.TB) []hostile {
	gnuSparse := func(name string, real, offset int64, data string) []byte {
		return append(block(name, tar.TypeGNUSparse, int64(len(data)), func(b []byte) {
			copy(b[386:], fmt.Sprintf("%011o\x00%011o\x00", offset, len(data)))
			copy(b[483:], fmt.Sprintf("%011o\x00", real))
		}), padded(data)...)
	}
	random := noise(4000)
	good := tarred(tb, []entry{{name: "a", body: random}, {name: "b", body: "x"}})
	flipped := slices.Clone(good)
	flipped[512+100] ^= 1
	gz := gzipped(tb, good)
	return []hostile{
		{name: "nothing but its end", data: make([]byte, tarEnd), harmless: []string{}},
		{name: "text", data: []byte("this is no archive\n"), says: "cannot read the archive"},
		{name: "more text", data: []byte(strings.Repeat("this is no archive\n", 100)), says: "cannot read the archive"},
		{name: "a page", data: []byte("<!DOCTYPE html><html><body>" + strings.Repeat("<p>Sign in</p>", 99)), says: "cannot read the archive"},
		{name: "one byte", data: []byte{0}, says: "cannot read the archive"},
		{name: "zeros, and then no archive", data: []byte(strings.Repeat("\x00", 512) + "x"), says: "cannot read the archive"},
		{name: "text in a gzip", data: gzipped(tb, []byte("text")), says: "cannot read the archive"},
		{name: "text in a zstd", data: zstded(tb, []byte("text")), says: "cannot read the archive"},
		{name: "an archive in an archive", data: gzipped(tb, gz), says: "cannot read the archive"},
		{name: "xz", data: []byte("\xfd7zXZ\x00" + strings.Repeat("x", 600)), says: "cannot read the archive"},
		{name: "the head of a gzip", data: []byte{0x1f, 0x8b}, says: "cannot read the archive"},
		{name: "the head of a zstd", data: []byte{0x28, 0xb5, 0x2f, 0xfd}, says: "cannot read the archive"},
		{name: "a zstd with a giant window", data: []byte("\x28\xb5\x2f\xfd\x00\xf8\x00\x00\x00"), says: "cannot read the archive"},
		{name: "a wrong checksum", data: func() []byte { d := slices.Clone(good); d[0] = 'c'; return d }(), says: "cannot read the archive"},
		{name: "less than it says", data: join(block("a", tar.TypeReg, 1<<20, nil)), says: "cannot read the archive"},
		{name: "much less than it says", data: join(block("a", tar.TypeReg, 1<<32, nil)), says: "cannot read the archive"},
		{name: "a size below zero", data: join(block("a", tar.TypeReg, 0, func(b []byte) { copy(b[124:], "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff") })), says: "cannot read the archive"},
		{name: "a size beyond all", data: join(records("size", "9223372036854775807"), block("a", tar.TypeReg, 0, nil)), says: "cannot read the archive"},
		{name: "more than it says", data: join(append(block("a", tar.TypeReg, 1, nil), padded(strings.Repeat("x", 600))...)), says: "cannot read the archive"},
		{name: "a header in a content", data: join(append(block("a", tar.TypeReg, 1024, nil), append(block("../x", tar.TypeReg, 0, nil), make([]byte, 512)...)...)), harmless: []string{"a"}},
		{name: "a name beyond the header", data: join(records("path", "../x"), block("a", tar.TypeReg, 0, nil)), says: `"../x"`},
		{name: "a name with a zero", data: join(records("path", "a\x00b"), block("a", tar.TypeReg, 0, nil)), says: "cannot read the archive"},
		{name: "a link beyond the header", data: join(block("a", tar.TypeReg, 0, nil), records("linkpath", outside), block("b", tar.TypeSymlink, 0, func(b []byte) { copy(b[157:], "a") })), says: `"b" is a link`},
		{name: "a file with a slash at its end", data: join(block("a/", tar.TypeReg, 0, nil)), harmless: []string{"a"}},
		{name: "a folder with a content", data: join(block("d/", tar.TypeDir, 512, nil), []byte(padded("x")), block("a", tar.TypeReg, 0, nil)), says: "cannot read the archive"},
		{name: "sparse, GNU", data: join(gnuSparse("s", 10, 5, "hello")), says: `"s" is neither`},
		{name: "sparse, PAX", data: join(records("GNU.sparse.size", "10", "GNU.sparse.numblocks", "1", "GNU.sparse.map", "5,5"), block("s", tar.TypeReg, 5, nil), []byte(padded("hello"))), harmless: []string{"s"}},
		{name: "sparse with a wrong map", data: join(gnuSparse("s", 2, 5, "hello")), says: "cannot read the archive"},
		{name: "sparse, giant, GNU", data: join(gnuSparse("s", 8<<30-1, 8<<30-1, "")), says: `"s" is neither`},
		{name: "sparse, giant, PAX 0.1", data: join(records("GNU.sparse.size", "4398046511104", "GNU.sparse.numblocks", "1", "GNU.sparse.map", "4398046511104,0"), block("s", tar.TypeReg, 0, nil)), says: `"s" is too much`},
		{name: "sparse, giant, PAX 1.0", data: join(records("GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", "s", "GNU.sparse.realsize", "4398046511104"),
			block("x", tar.TypeReg, 512, nil), []byte(padded("1\n4398046511104\n0\n"))), says: `"s" is too much`},
		{name: "sparse, up", data: join(records("GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", "../x", "GNU.sparse.realsize", "1"),
			block("x", tar.TypeReg, 512, nil), []byte(padded("1\n1\n0\n"))), says: `"../x"`},
		{name: "garbage behind it", data: append(slices.Clone(good), random...), harmless: []string{"a", "b"}},
		{name: "garbage behind a gzip", data: append(slices.Clone(gz), random...), harmless: []string{"a", "b"}},
		{name: "an archive behind it", data: append(slices.Clone(good), tarred(tb, names("../x"))...), harmless: []string{"a", "b"}},
		{name: "a gzip in two parts", data: append(gzipped(tb, good[:700]), gzipped(tb, good[700:])...), harmless: []string{"a", "b"}},
		{name: "a zstd in two parts", data: append(zstded(tb, good[:700]), zstded(tb, good[700:])...), harmless: []string{"a", "b"}},
	}
}

// central calls f with each entry of a zip's directory.
func central(data []byte, f func(i int, head []byte)) {
	at, n := 0, 0
	for {
		next := bytes.Index(data[at:], []byte("PK\x01\x02"))
		if next < 0 {
			return
		}
		at += next
		f(n, data[at:])
		at, n = at+46, n+1
	}
}

// rawZip makes a zip of entries that may lie.
func rawZip(tb testing.TB, headers []zip.FileHeader, content func(i int) []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := range headers {
		f, err := w.CreateRaw(&headers[i])
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := f.Write(content(i)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// hostileZips is what archive/zip does not write.
func hostileZips(tb testing.TB) []hostile {
	const text = "some text"
	one := func(change func(h *zip.FileHeader)) []byte {
		h := zip.FileHeader{Name: "d/a", Method: zip.Store, CRC32: crc32.ChecksumIEEE([]byte(text)), CompressedSize64: uint64(len(text)), UncompressedSize64: uint64(len(text))}
		change(&h)
		return rawZip(tb, []zip.FileHeader{h}, func(int) []byte { return []byte(text) })
	}
	patched := func(change func(head []byte)) []byte {
		data := one(func(*zip.FileHeader) {})
		central(data, func(_ int, head []byte) { change(head) })
		return data
	}
	end := func(change func(end []byte)) []byte {
		data := one(func(*zip.FileHeader) {})
		change(data[len(data)-22:])
		return data
	}
	le := binary.LittleEndian
	good := one(func(*zip.FileHeader) {})
	unix := func(mode uint32) []byte {
		return one(func(h *zip.FileHeader) { h.CreatorVersion, h.ExternalAttrs = 3<<8, mode<<16 })
	}
	return []hostile{
		{name: "zip", data: good, harmless: []string{"d/a"}},
		{name: "zip of nothing", data: good[len(good)-22:], says: "cannot read the archive"},
		{name: "zip of nothing, rightly", data: rawZip(tb, nil, nil), harmless: []string{}},
		{name: "the head of a zip", data: []byte("PK\x03\x04"), says: "cannot read the archive"},
		{name: "the end of a zip", data: []byte("PK\x05\x06"), says: "cannot read the archive"},
		{name: "zip with a zero in a name", data: one(func(h *zip.FileHeader) { h.Name = "a\x00b" }), says: `"a\x00b"`},
		{name: "zip without a name", data: one(func(h *zip.FileHeader) { h.Name = "" }), harmless: []string{}},
		{name: "zip of a folder with a content", data: patched(func(head []byte) { copy(head[46:], "dd/") }), harmless: []string{}},
		{name: "zip of a folder by its mode", data: unix(0o040755), harmless: []string{}},
		{name: "zip of a socket", data: unix(0o140755), says: `"d/a" is neither`},
		{name: "zip of a file without a mode", data: unix(0), harmless: []string{"d/a"}},
		{name: "zip of a link with a long text", data: rawZip(tb, []zip.FileHeader{{Name: "l", CreatorVersion: 3 << 8, ExternalAttrs: 0o120777 << 16, CompressedSize64: 9000, UncompressedSize64: 9000}},
			func(int) []byte { return bytes.Repeat([]byte("./"), 4500) }), says: `"l" is a link`},
		{name: "zip with another name before the content", data: patched(func(head []byte) { copy(head[46:], "d/z") }), harmless: []string{"d/z"}},
		{name: "zip with an unknown method", data: one(func(h *zip.FileHeader) { h.Method = 14 }), says: `"d/a"`},
		{name: "zip with AES", data: one(func(h *zip.FileHeader) { h.Method, h.Flags = 99, 1 }), says: `"d/a"`},
		{name: "zip with a content beyond its end", data: patched(func(head []byte) { le.PutUint32(head[42:], 1<<30) }), says: `"d/a"`},
		{name: "zip with a content in its directory", data: patched(func(head []byte) { le.PutUint32(head[42:], 20) }), says: `"d/a"`},
		{name: "zip64", data: end(func(e []byte) { le.PutUint16(e[10:], 0xffff) }), says: "zip64"},
		{name: "zip64 by its directory's length", data: end(func(e []byte) { le.PutUint32(e[12:], 0xffffffff) }), says: "zip64"},
		{name: "zip64 by its directory's place", data: end(func(e []byte) { le.PutUint32(e[16:], 0xffffffff) }), says: "zip64"},
		{name: "zip with a count that is too high", data: end(func(e []byte) { le.PutUint16(e[10:], 2) }), says: "cannot read the archive"},
		{name: "zip with a count that is too low", data: end(func(e []byte) { le.PutUint16(e[10:], 0) }), says: "cannot read the archive"},
		{name: "zip with a directory of 65 MiB", data: end(func(e []byte) { le.PutUint32(e[12:], 65<<20) }), says: "longer than 64 MiB"},
		{name: "zip with a directory beyond its end", data: end(func(e []byte) { le.PutUint32(e[16:], 1<<30) }), says: "cannot read the archive"},
		{name: "zip with garbage behind it", data: append(slices.Clone(good), noise(1000)...), harmless: []string{"d/a"}},
		{name: "zip with a longer comment than there is", data: end(func(e []byte) { le.PutUint16(e[20:], 9) }), says: "cannot read the archive"},
		{name: "zip behind a zip", data: append(zipped(tb, names("../x")), good...), harmless: []string{"d/a"}},
	}
}

// TestHostileArchives: each is refused with a reason, or read rightly.
func TestHostileArchives(t *testing.T) {
	for _, c := range hostiles(t) {
		t.Run(c.name, func(t *testing.T) {
			tree, err := taken(t, c.data, c.opt)
			wanted(t, c, tree, err)
		})
	}
}

func wanted(t *testing.T, c hostile, tree *snapshot.Tree, err error) {
	t.Helper()
	switch {
	case c.harmless != nil:
		if err != nil {
			t.Errorf("it is harmless: %v", err)
		} else if want := slices.Sorted(slices.Values(c.harmless)); !slices.Equal(tree.Files(), want) {
			t.Errorf("it has %q, want %q", tree.Files(), want)
		}
	case err == nil:
		t.Errorf("it was read: %q", tree.Files())
	case c.says == "" || !strings.Contains(err.Error(), c.says):
		t.Errorf("%q is not in %.300q", c.says, err)
	}
	if p, ok := errors.AsType[*snapshot.ProblemError](err); ok && p.Hint == "" && p.Path != snapshot.IgnoreFile {
		t.Errorf("%v lacks a hint", p)
	}
}

// TestTruncatedArchives: what is cut off is refused, unless all files are there.
func TestTruncatedArchives(t *testing.T) {
	entries := []entry{{name: "a", body: noise(1500)}, {name: "d/b", body: "x"}, symlink("l", "a"), {name: "z", body: "last"}}
	for _, k := range kinds {
		data := k.pack(t, entries)
		for n := range len(data) {
			if n%29 != 0 && n < len(data)-30 {
				continue
			}
			tree, err := taken(t, data[:n], snapshot.ArchiveOptions{})
			if err == nil && len(tree.Files()) < len(entries) {
				// BUG: nothing at all is read as an empty tree, and a tar that ends
				// between two files, without its two blocks of zeros, as all of it.
				if n == 0 || k.name == "tar" {
					continue
				}
				t.Errorf("%s: %d of %d bytes give %q", k.name, n, len(data), tree.Files())
			}
		}
	}
}

// TestCorruptArchives: a bit that flips in a content is noticed where the
// archive has a checksum.
func TestCorruptArchives(t *testing.T) {
	entries := []entry{{name: "a", body: noise(2000)}}
	var stored bytes.Buffer
	w, err := gzip.NewWriterLevel(&stored, gzip.NoCompression)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(tarred(t, entries))
	w.Close()
	for _, c := range []struct {
		name string
		data []byte
	}{
		{"tar.gz", stored.Bytes()},
		{"tar.zst", zstded(t, tarred(t, entries))},
		{"zip", zipped(t, entries)},
	} {
		at := bytes.Index(c.data, []byte(entries[0].body[:100]))
		if at < 0 {
			t.Fatalf("%s: it is compressed", c.name)
		}
		c.data[at] ^= 1
		tree, err := taken(t, c.data, snapshot.ArchiveOptions{})
		wanted(t, hostile{says: "check"}, tree, err)
	}
}

// zeros is a zstd of a text and so many zeros, 128 KiB in four bytes.
func zeros(text []byte, n int64) []byte {
	b := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x58} // a window of 2 MiB
	part := func(last, kind, size int64, data ...byte) {
		v := last | kind<<1 | size<<3
		b = append(append(b, byte(v), byte(v>>8), byte(v>>16)), data...)
	}
	part(0, 0, int64(len(text)), text...)
	for ; n > 0; n -= 128 << 10 {
		part(0, 1, min(n, 128<<10), 0)
	}
	part(1, 0, 0)
	return b
}

// repeated is a zstd of a text many times over.
func repeated(tb testing.TB, text []byte, times int) []byte {
	tb.Helper()
	return zstded(tb, bytes.Repeat(text, times))
}

// manyZip is a zip of so many files with nothing in them, whose end is made by
// the caller: the last 22 bytes.
func manyZip(files int, name string, end func(end []byte)) []byte {
	const first = 34
	head := []byte("PK\x01\x02" + strings.Repeat("\x00", 42) + name)
	head[28] = byte(len(name))
	le := binary.LittleEndian
	tail := []byte("PK\x05\x06" + strings.Repeat("\x00", 18))
	le.PutUint16(tail[10:], uint16(files))
	le.PutUint32(tail[12:], uint32(files*len(head)))
	le.PutUint32(tail[16:], first)
	end(tail)
	return slices.Concat([]byte("PK\x03\x04"+strings.Repeat("\x00", first-4)), bytes.Repeat(head, files), tail)
}

// TestLargeArchives: little that would become much is refused soon, with
// little memory and few words.
func TestLargeArchives(t *testing.T) {
	if raceDetector {
		t.Skip("there is one goroutine and much data; it runs without the race detector")
	}
	const million = 1_000_000
	le := binary.LittleEndian
	var deflated bytes.Buffer
	w, err := flate.NewWriter(&deflated, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	const size = 128 << 20
	sum := crc32.NewIEEE()
	if _, err := io.CopyN(io.MultiWriter(w, sum), zero{}, size); err != nil {
		t.Fatal(err)
	}
	w.Close()
	bomb := zip.FileHeader{Name: "z", Method: zip.Deflate, CRC32: sum.Sum32(), CompressedSize64: uint64(deflated.Len()), UncompressedSize64: size}
	links := func(link func(name, target string) entry, n int, body string) []entry {
		out := []entry{{name: "z", body: body}}
		for i := range n {
			out = append(out, link(fmt.Sprint("l", i), "z"))
		}
		return out
	}
	for _, c := range []struct {
		name string
		data func() []byte
		says string
	}{
		{"a zstd of 7 GiB of zeros", func() []byte { return zeros(block("z", tar.TypeReg, 7<<30, nil), 7<<30) }, `"z" is too much`},
		{"a gzip of zeros", func() []byte {
			head := "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
			first := append([]byte{0, 0, 2, 0xff, 0xfd}, block("z", tar.TypeReg, size, nil)...) // stored
			return slices.Concat([]byte(head), first, deflated.Bytes(), make([]byte, 8))
		}, `"z" is too much`},
		{"a zip of zeros", func() []byte {
			return rawZip(t, []zip.FileHeader{bomb}, func(int) []byte { return deflated.Bytes() })
		}, `"z" is too much`},
		{"a zip of contents that lie over each other", func() []byte {
			headers := make([]zip.FileHeader, 200)
			for i := range headers {
				headers[i] = bomb
				headers[i].Name = fmt.Sprint(i)
			}
			data := rawZip(t, headers, func(i int) []byte {
				if i > 0 {
					return nil
				}
				return deflated.Bytes()
			})
			central(data, func(_ int, head []byte) { le.PutUint32(head[42:], 0) })
			return data
		}, `is too much`},
		{"a million folders", func() []byte { return repeated(t, block("d/", tar.TypeDir, 0, nil), million) }, "more than 200000 entries"},
		{"a million links", func() []byte { return zstded(t, tarred(t, links(symlink, 201_000, ""))) }, "more than 200000 entries"},
		{"a hundred thousand hard links", func() []byte { return zstded(t, tarred(t, links(hardLink, 100_000, ""))) }, "there are 100001 files"},
		{"a zip64 of a million files", func() []byte {
			return manyZip(million, "a", func(end []byte) { le.PutUint16(end[10:], 0xffff) })
		}, "zip64"},
		{"a zip of a million files", func() []byte { return manyZip(million, "", func([]byte) {}) }, "more than 200000 entries"},
		{"a zip with a directory of 66 MiB", func() []byte { return manyZip(1_500_000, "", func([]byte) {}) }, "longer than 64 MiB"},
		{"a zip of a million files with names", func() []byte { return manyZip(million, "a", func([]byte) {}) }, "more than 200000 entries"},
		{"a zip64 that does not look it", func() []byte {
			data := manyZip(1_500_000, "", func([]byte) {})
			end := slices.Clone(data[len(data)-22:])
			data = data[:len(data)-22]
			at := len(data)
			data = append(data, "PK\x06\x06"+strings.Repeat("\x00", 52)+"PK\x06\x07"+strings.Repeat("\x00", 16)...)
			le.PutUint64(data[at+32:], 1_500_000)
			le.PutUint64(data[at+40:], uint64(at-34))
			le.PutUint64(data[at+48:], 34)
			le.PutUint64(data[at+64:], uint64(at))
			le.PutUint32(data[at+72:], 1)
			le.PutUint16(end[10:], 0)
			le.PutUint32(end[12:], 0xffff)
			le.PutUint32(end[16:], uint32(at))
			return append(data, end...)
		}, "zip64"},
		{"links to one large file", func() []byte { return zstded(t, tarred(t, links(symlink, 500, strings.Repeat("\x00", 60<<20)))) }, "16 GiB"},
		{"hard links to one large file", func() []byte { return zstded(t, tarred(t, links(hardLink, 500, strings.Repeat("\x00", 60<<20)))) }, "16 GiB"},
		{"long names", func() []byte {
			return repeated(t, tarred(t, []entry{{name: strings.Repeat("n", 1<<20-200), format: tar.FormatPAX}})[:1<<20+1536], 50)
		}, "longer than 1024 bytes"},
		{"what is passed over", func() []byte { return zeros(block("z", 'Z', 7<<30, nil), 7<<30) }, "too much"},
		{"global headers", func() []byte { return repeated(t, globalHeader, million) }, "more than 200000 entries"},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := c.data()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			tree, err := takenFile(ctx, t, data, snapshot.ArchiveOptions{})
			runtime.ReadMemStats(&after)
			wanted(t, hostile{says: c.says}, tree, err)
			if got := (after.TotalAlloc - before.TotalAlloc) >> 20; got > 500 {
				t.Errorf("it took %d MiB of memory, one after the other", got)
			}
			if err != nil && len(err.Error()) > 10_000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

// zero reads zeros for ever.
type zero struct{}

func (zero) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// globalHeader is what git archive begins with, again and again.
var globalHeader = append(block("x", tar.TypeXGlobalHeader, 13, func(b []byte) { copy(b[257:], "ustar\x0000") }), padded("13 comment=x\n")...)

// TestSmallFiles: many of them cost little.
func TestSmallFiles(t *testing.T) {
	var entries []entry
	for i := range 1000 {
		entries = append(entries, entry{name: fmt.Sprint(i)})
	}
	file := filepath.Join(t.TempDir(), "archive")
	if err := os.WriteFile(file, tarred(t, entries), 0o644); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := snapshot.Archive(t.Context(), file, t.TempDir(), snapshot.ArchiveOptions{}); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	got := (after.TotalAlloc - before.TotalAlloc) / 1000
	// A buffer of 64 KiB to copy it, and little else.
	if got>>10 > 100 && !raceDetector {
		t.Errorf("a file takes %d KiB of memory", got>>10)
	}
}

func TestArchiveInterrupted(t *testing.T) {
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	for _, k := range kinds {
		if _, err := takenFile(ctx, t, k.pack(t, names("a")), snapshot.ArchiveOptions{}); !errors.Is(err, why) {
			t.Errorf("%s: %v", k.name, err)
		}
	}
	for _, c := range []struct {
		name string
		data []byte
	}{
		{"in a file", zeros(block("z", tar.TypeReg, 7<<30, nil), 7<<30)},
		// BUG: what is passed over is read to its end, 7 s for these 7 GiB.
		// {"in what is passed over", zeros(block("z", 'Z', 7<<30, nil), 7<<30)},
		// {"in global headers", repeated(t, globalHeader, 500_000)},
	} {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, why)
		defer cancel()
		start := time.Now()
		if _, err := takenFile(ctx, t, c.data, snapshot.ArchiveOptions{}); !errors.Is(err, why) || time.Since(start) > time.Minute {
			t.Errorf("%s, after %v: %v", c.name, time.Since(start), err)
		}
	}
	if _, err := snapshot.Archive(t.Context(), filepath.Join(t.TempDir(), "nothing"), t.TempDir(), snapshot.ArchiveOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no archive: %v", err)
	}
	if _, err := snapshot.Archive(t.Context(), t.TempDir(), t.TempDir(), snapshot.ArchiveOptions{}); err == nil {
		t.Error("a folder was read as an archive")
	}
}

// FuzzArchive: whatever the bytes, they are refused, or give a tree that is
// unpacked to exactly itself; and nothing else is written.
func FuzzArchive(f *testing.F) {
	for _, c := range hostiles(f) {
		if len(c.data) < 8<<10 {
			f.Add(c.data, byte(c.opt.Strip), c.opt.Path)
		}
	}
	for _, k := range kinds {
		f.Add(k.pack(f, append(names("d/", "d/a", "d/b"), symlink("d/l", "a"))), byte(1), "")
	}
	f.Fuzz(func(t *testing.T, data []byte, strip byte, path string) {
		tree, err := taken(t, data, snapshot.ArchiveOptions{Strip: int(strip % 4), Path: path})
		if err != nil && (tree != nil || err.Error() == "") {
			t.Errorf("%v and %v", tree, err)
		}
	})
}
