package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write what the commands print into the scripts and the README")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"modyard": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			context.AfterFunc(ctx, stop)
			os.Exit(run(ctx, os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr}, os.LookupEnv))
		},
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("MODYARD_STORE", filepath.Join(e.WorkDir, ".store"))
			e.Setenv("PATH", os.Getenv("PATH")) // testscript has put modyard first
			for _, git := range []string{"AUTHOR", "COMMITTER"} {
				e.Setenv("GIT_"+git+"_NAME", "tester")
				e.Setenv("GIT_"+git+"_EMAIL", "tester@example.com")
			}
			e.Setenv("DOCKER_CONFIG", filepath.Join(e.WorkDir, ".docker"))
			e.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
			e.Setenv("GIT_CONFIG_NOSYSTEM", "1")
			for _, name := range []string{"PYENV_ROOT", "PYENV_VERSION"} {
				if v, ok := os.LookupEnv(name); ok {
					e.Setenv(name, v)
				}
			}
			root, err := filepath.Abs(filepath.Join("..", "..", "testdata"))
			if err != nil {
				return err
			}
			e.Setenv("TESTDATA", root)
			return nil
		},
		Condition: condition,
		Cmds:      map[string]func(*testscript.TestScript, bool, []string){"stable": stable, "copytree": copyTree, "commit": commit, "digest": digestVar, "keypair": keypair, "append": appendFile, "oci-registry": ociRegistry, "same-snapshot": sameSnapshot},
	})
}

// condition tells what this machine has beyond Go, git and Python.
func condition(cond string) (bool, error) {
	switch cond {
	case "venv":
		return exec.Command("python3", "-c", "import ensurepip, venv").Run() == nil, nil
	}
	return false, fmt.Errorf("there is no condition %q", cond)
}

// stable FILE… prints files (or stdout, stderr) with all that differs from run
// to run replaced, as the next command's stdout.
func stable(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: stable FILE…")
	}
	for _, f := range args {
		_, _ = ts.Stdout().Write([]byte(normalize(ts.ReadFile(f))))
	}
}

// oci-registry VAR starts a registry on loopback for the rest of the script and
// sets a variable to its HOST:PORT.
func ociRegistry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: oci-registry VAR")
	}
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)))
	ts.Defer(srv.Close)
	ts.Setenv(args[0], srv.Listener.Addr().String())
}

// digest VAR FILE sets a variable to the first digest in a file.
func digestVar(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: digest VAR FILE")
	}
	ts.Setenv(args[0], snapshotDigest.FindString(ts.ReadFile(args[1])))
}

// keypair NAME… writes keys that sign, NAME.pem and NAME.pub.
func keypair(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: keypair NAME…")
	}
	for _, name := range args {
		ts.Check(keyFiles(ts.MkAbs(name)))
	}
}

// keyFiles writes keys that sign, NAME.pem and NAME.pub.
func keyFiles(name string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(name+".pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600),
		os.WriteFile(name+".pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o600),
	)
}

// append FILE FROM… appends files, with their variables expanded, to a file.
func appendFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: append FILE FROM…")
	}
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	ts.Check(err)
	for _, from := range args[1:] {
		_, err := f.WriteString(os.Expand(ts.ReadFile(from), ts.Getenv))
		ts.Check(err)
	}
	ts.Check(f.Close())
}

// commit VAR DIR sets a variable to the hash of a repository's last commit.
func commit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: commit VAR DIR")
	}
	ts.Check(ts.Exec("git", "-C", args[1], "rev-parse", "HEAD"))
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

var snapshotDigest = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// same-snapshot FILE… asserts that manifests hold one and the same digest.
func sameSnapshot(ts *testscript.TestScript, neg bool, args []string) {
	want := ""
	for _, f := range args {
		got := snapshotDigest.FindString(ts.ReadFile(f))
		if want == "" {
			want = got
		}
		if got == "" || (got != want) != neg {
			ts.Fatalf("%s has the digest %q, not %q", f, got, want)
		}
	}
}

// copytree FROM TO copies a folder.
func copyTree(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: copytree FROM TO")
	}
	ts.Check(os.CopyFS(ts.MkAbs(args[1]), os.DirFS(ts.MkAbs(args[0]))))
}

var unstable = []struct {
	re *regexp.Regexp
	to string
}{
	{regexp.MustCompile(`\b20\d{6}-\d{6}(-\d+)?\b`), "RUN"},
	{regexp.MustCompile(`\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\dZ?`), "TIME"},
	{regexp.MustCompile(`sha256:[0-9a-f]{12,64}`), "DIGEST"},
	{regexp.MustCompile(`\b[0-9a-f]{40}\b`), "COMMIT"},
	{regexp.MustCompile(`\bkey [A-Za-z0-9+/]{43}=`), "key KEY"},
	{regexp.MustCompile(` *\b\d+(\.\d+)?(ms|s|m\d+s)\b`), " TOOK"},
}

func normalize(s string) string {
	for _, u := range unstable {
		s = u.re.ReplaceAllString(s, u.to)
	}
	return s
}
