package schema

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Text is a text and where it begins.
type Text struct {
	Value string
	Pos   Pos
}

// MarshalJSON writes the text alone.
func (t Text) MarshalJSON() ([]byte, error) { return []byte(JSON(t.Value)), nil }

// Entry is one name of a [Map] and what it stands for.
type Entry[T any] struct {
	Name  string
	Pos   Pos // of the name
	Value T
}

// Map is a mapping that keeps the order in which it was written.
type Map[T any] []Entry[T]

// Get finds a name.
func (m Map[T]) Get(name string) (T, bool) {
	for i := range m {
		if m[i].Name == name {
			return m[i].Value, true
		}
	}
	var zero T
	return zero, false
}

// Names lists the names in order.
func (m Map[T]) Names() []string {
	names := make([]string, len(m))
	for i := range m {
		names[i] = m[i].Name
	}
	return names
}

// MarshalJSON writes an object in the order of m.
func (m Map[T]) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, e := range m {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(JSON(e.Name) + ":" + JSON(e.Value))
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Registry is registry.yaml.
type Registry struct {
	File        string   `json:"-"`
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Images      string   `json:"images,omitempty"`  // HOST/PREFIX that images are published to
	Mirrors     []string `json:"mirrors,omitempty"` // HOST/PREFIX that have copies
	Source      string   `json:"source,omitempty"`  // the address of the repository, for people
	Index       string   `json:"index,omitempty"`   // the branch that has the index, or "oci" for an artifact beside the images
	Policy      Policy   `json:"policy,omitzero"`
}

// Policy is what a registry demands of the images of its versions.
type Policy struct {
	Signatures string     `json:"signatures,omitempty"` // "required", or "" for those that are there
	Keys       []Text     `json:"keys,omitempty"`       // files of public keys, beside registry.yaml
	Identities []Identity `json:"identities,omitempty"`
}

// Signers reports whether somebody may sign.
func (p Policy) Signers() bool { return len(p.Keys)+len(p.Identities) > 0 }

// Identity is who may sign without a key of their own: the subject of a
// certificate and who vouches for it.
type Identity struct {
	Issuer  string `json:"issuer"`
	Subject Text   `json:"subject"` // a regular expression that the whole must match
}

// State is the lifecycle state of a version or module.
type State string

// The states. The zero State is active.
const (
	Active     State = "active"
	Deprecated State = "deprecated"
	Disabled   State = "disabled"
)

// Lifecycle is what module.yaml says of a version or of the whole module.
type Lifecycle struct {
	State  State  `json:"state,omitempty"`
	Reason string `json:"reason,omitempty"`
	Use    string `json:"use,omitempty"` // the version, or module, to use instead

	StatePos, ReasonPos, UsePos Pos `json:"-"`
}

// Module is modules/NAME/module.yaml.
type Module struct {
	File        string         `json:"-"`
	Name        string         `json:"name"`
	NamePos     Pos            `json:"-"`
	Description string         `json:"description"`
	Owners      []string       `json:"owners,omitempty"`
	Tags        []string       `json:"tags,omitempty"`
	Default     Text           `json:"default,omitzero"`
	Lifecycle                  // of the whole module
	Versions    Map[Lifecycle] `json:"versions,omitempty"`
}

// Input is data that a module reads. Type is File or Folder.
type Input struct {
	Type        Type   `json:"type"`
	Format      string `json:"format,omitempty"`
	Optional    bool   `json:"optional,omitempty"`
	Description string `json:"description,omitempty"`
}

// Output is what a module produces: data (Type File or Folder) or a value.
type Output struct {
	Spec
	Format      string `json:"format,omitempty"`
	Optional    bool   `json:"optional,omitempty"`
	Description string `json:"description,omitempty"`
	From        Text   `json:"from,omitzero"` // in a module that is a pipeline
}

// Param is a value that steers a module. It is required unless it has a
// default or is optional.
type Param struct {
	Spec
	Default     any    `json:"default,omitempty"` // nil: none
	Optional    bool   `json:"optional,omitempty"`
	Description string `json:"description,omitempty"`
}

// Required reports whether a value must be given.
func (p Param) Required() bool { return p.Default == nil && !p.Optional }

// Secret is a secret that a module needs.
type Secret struct {
	Optional    bool   `json:"optional,omitempty"`
	Description string `json:"description,omitempty"`
}

// Interface is what a step's neighbours see of it.
type Interface struct {
	Inputs  Map[Input]  `json:"inputs,omitempty"`
	Outputs Map[Output] `json:"outputs,omitempty"`
	Params  Map[Param]  `json:"params,omitempty"`
	Secrets Map[Secret] `json:"secrets,omitempty"`
}

// Argument is one element of a command: one text, or a nested list that is
// dropped as a whole when what it names is not set.
type Argument struct {
	Texts  []Text
	Nested bool
}

// MarshalJSON writes a string or a list of strings.
func (a Argument) MarshalJSON() ([]byte, error) {
	if a.Nested {
		return []byte(JSON(a.Texts)), nil
	}
	return a.Texts[0].MarshalJSON()
}

// Python is an environment with an interpreter and packages.
type Python struct {
	Version      Text `json:"version,omitzero"`
	Requirements Text `json:"requirements,omitzero"` // a file in the snapshot
}

// Environment is what a command finds around it; the zero value is the host.
type Environment struct {
	Python *Python `json:"python,omitempty"`
	Image  Text    `json:"image,omitzero"`
}

// Resources is what one execution needs.
type Resources struct {
	CPUs   float64 `json:"cpus,omitempty"`   // 0 means 1
	Memory int64   `json:"memory,omitempty"` // bytes
	GPUs   int     `json:"gpus,omitempty"`
	Pos    Pos     `json:"-"`
}

// Run is what one execution of a step runs.
type Run struct {
	Command          []Argument    `json:"command"`
	Environment      Environment   `json:"environment,omitzero"`
	Env              Map[Text]     `json:"env,omitempty"`
	Network          bool          `json:"network,omitempty"`
	Resources        Resources     `json:"resources,omitzero"`
	Timeout          time.Duration `json:"timeout,omitempty"`
	Nondeterministic bool          `json:"nondeterministic,omitempty"`
	Pos              Pos           `json:"-"`
}

// Snapshot is where files come from: exactly one origin.
type Snapshot struct {
	Folder      Text               `json:"folder,omitzero"` // in the repository
	Git         *GitOrigin         `json:"git,omitempty"`
	Image       *ImageOrigin       `json:"image,omitempty"`
	Version     Text               `json:"snapshot,omitzero"` // another version's: [REGISTRY/]MODULE@VERSION
	Archive     *ArchiveOrigin     `json:"archive,omitempty"`
	AzureDevOps *AzureDevOpsOrigin `json:"azureDevOps,omitempty"`
	Origin      string             `json:"origin,omitempty"` // the key of the origin: folder, git, image, …
	Digest      Digest             `json:"digest,omitempty"`
	Pos         Pos                `json:"-"`
}

// IsEnvironment reports whether the origin is an image that is the environment
// itself: no files are taken out of it.
func (s *Snapshot) IsEnvironment() bool {
	return s != nil && s.Image != nil && s.Image.Path.Value == ""
}

// GitOrigin is a folder of a git repository at a commit.
type GitOrigin struct {
	URL    Text   `json:"url"`
	Commit string `json:"commit"` // the full hash
	Path   Text   `json:"path,omitzero"`
}

// ImageOrigin is a container image or, with a path, a folder out of it.
type ImageOrigin struct {
	Name Text `json:"name"` // by digest: NAME@sha256:…
	Path Text `json:"path,omitzero"`
}

// ArchiveOrigin is a folder of a tar or zip archive.
type ArchiveOrigin struct {
	URL   Text `json:"url"`             // https or file
	Strip int  `json:"strip,omitempty"` // leading folders of its names that are dropped
	Path  Text `json:"path,omitzero"`
}

// AzureDevOpsOrigin is a folder of an artifact of a pipeline run.
type AzureDevOpsOrigin struct {
	Organization string `json:"organization"`
	Project      string `json:"project"`
	Pipeline     int64  `json:"pipeline"`
	Run          int64  `json:"run"`
	Artifact     string `json:"artifact"`
	Path         Text   `json:"path,omitzero"`
}

// ModuleVersion is modules/NAME/versions/VERSION.yaml: an immutable unit of
// computation. It has either a Run or, being a pipeline, Steps.
type ModuleVersion struct {
	File        string `json:"-"`
	Digest      Digest `json:"digest"` // of the file: the version digest
	Module      Text   `json:"module"`
	Version     Text   `json:"version"`
	Description string `json:"description,omitempty"`
	Created     Text   `json:"created,omitzero"`
	Interface
	Run        *Run      `json:"run,omitempty"`
	Snapshot   *Snapshot `json:"snapshot,omitempty"`
	Registries Map[Text] `json:"registries,omitempty"`
	Steps      Map[Step] `json:"steps,omitempty"`
}

// PipelineInput is data that a pipeline starts from.
type PipelineInput struct {
	Input
	Path   Text   `json:"path,omitzero"` // relative to the pipeline's file
	URI    Text   `json:"uri,omitzero"`
	Digest Digest `json:"digest,omitempty"`
}

// Arg is the value that a step gives a param: a literal, or a string with
// expressions.
type Arg struct {
	Value any
	Pos   Pos
}

// MarshalJSON writes the value alone.
func (a Arg) MarshalJSON() ([]byte, error) { return []byte(JSON(a.Value)), nil }

// Step is one step of a pipeline: a ModuleStep (Module), a script step (Run)
// or a transfer step (Transfer).
type Step struct {
	Module      Text          `json:"module,omitzero"`
	Digest      Text          `json:"digest,omitzero"`
	Run         *Run          `json:"run,omitempty"`
	Transfer    bool          `json:"transfer,omitempty"`
	Snapshot    *Snapshot     `json:"snapshot,omitempty"`
	Inputs      Map[Text]     `json:"inputs,omitempty"`
	Params      Map[Arg]      `json:"params,omitempty"`
	Outputs     Map[Output]   `json:"outputs,omitempty"` // of a script step
	Secrets     Map[Text]     `json:"secrets,omitempty"`
	After       []Text        `json:"after,omitempty"`
	Retries     int           `json:"retries,omitempty"`
	Timeout     time.Duration `json:"timeout,omitempty"`
	Resources   *Resources    `json:"resources,omitempty"`
	Compute     Text          `json:"compute,omitzero"`
	NoCache     bool          `json:"noCache,omitempty"`
	Description string        `json:"description,omitempty"`
}

// Pipeline is a pipeline file: steps and how data flows between them.
type Pipeline struct {
	File        string             `json:"-"`
	Name        string             `json:"name"`
	Description string             `json:"description,omitempty"`
	Registries  Map[Text]          `json:"registries,omitempty"`
	Params      Map[Param]         `json:"params,omitempty"`
	Inputs      Map[PipelineInput] `json:"inputs,omitempty"`
	Steps       Map[Step]          `json:"steps"`
	Outputs     Map[Text]          `json:"outputs,omitempty"`
}

// Locked is what a lock says of one step.
type Locked struct {
	Module  Text   `json:"module"` // what the step asked for
	Version string `json:"version"`
	Digest  Digest `json:"digest"`
}

// Lock is the file that `modyard lock` writes beside a pipeline.
type Lock struct {
	File       string      `json:"-"`
	Registries Map[string] `json:"registries,omitempty"` // commits
	Steps      Map[Locked] `json:"steps"`
}

// ModuleTest is one test of a module.
type ModuleTest struct {
	File        string
	Description string
	Versions    Text // a range; "" for all
	Inputs      Map[Text]
	Params      Map[any]
	Exit        int // of the command
	Outputs     Map[Expected]
}

// Expected is what an output must be.
type Expected struct {
	Value            any // nil: not looked at
	Minimum, Maximum *float64
	File, JSON       Text // relative to the test's file
	Digest           Digest
	Tolerance        float64
}

// Digest is "sha256:" and 64 hexadecimal digits.
type Digest string

// DigestBytes is the digest of data.
func DigestBytes(data []byte) Digest {
	sum := sha256.Sum256(data)
	return DigestSum(sum[:])
}

// DigestSum is the digest with a sha256 sum of 32 bytes.
func DigestSum(sum []byte) Digest { return Digest("sha256:" + hex.EncodeToString(sum)) }

// Valid reports whether d is well formed.
func (d Digest) Valid() bool {
	rest, ok := strings.CutPrefix(string(d), "sha256:")
	if !ok || len(rest) != 64 {
		return false
	}
	return strings.Trim(rest, "0123456789abcdef") == ""
}

// Hex is the digest without its algorithm.
func (d Digest) Hex() string { return strings.TrimPrefix(string(d), "sha256:") }

// Short is enough of the digest for people: sha256: and 12 digits.
func (d Digest) Short() string {
	if len(d) < 19 {
		return string(d)
	}
	return string(d[:19])
}

// VersionDigest is the digest of a version's file as git stores it: line ends
// are LF, whatever a checkout made of them.
func VersionDigest(file []byte) Digest {
	return DigestBytes(bytes.ReplaceAll(file, []byte("\r\n"), []byte("\n")))
}

// ParseMemory reads an amount of memory in bytes: 512Mi, 4G, 1.5Gi, 1000.
func ParseMemory(s string) (int64, error) {
	units := map[string]float64{
		"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
		"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
	}
	digits := strings.TrimRight(s, "KMGTi")
	unit, ok := units[s[len(digits):]]
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || !ok || !(f >= 0 && f*unit < math.MaxInt64) {
		return 0, fmt.Errorf("%q is no amount of memory", s)
	}
	return int64(f * unit), nil
}

var _ json.Marshaler = Text{}
