/// A video that was asked for, from acceptance until it is deleted; what the store keeps of it.
public struct Job: Sendable, Codable, Equatable {
    public enum Status: String, Sendable, Codable {
        case queued
        case inProgress = "in_progress"
        case completed
        case failed
    }

    /// `video_` and 24 hexadecimal digits.
    public var id: String
    /// The uid that asked for it.
    public var owner: UInt32
    /// The order of acceptance, which no clock can change.
    public var sequence: UInt64
    public var request: VideoRequest
    public var status: Status
    /// 0...100, never less than it was, until the process ends and the job starts again.
    public var progress: Int
    /// Unix seconds by the wall clock, for people: a board without a battery may have any time at all.
    public var createdAt: Int64
    public var startedAt: Int64?
    public var completedAt: Int64?
    public var error: JobFailure?
    /// SHA-256 of the RGB8 frames in order.
    public var framesSHA256: String?
    /// Peak of private memory the generation used, in bytes.
    public var peakBytes: Int?
    public var computeMilliseconds: Int?
    /// How often it was started; more than once when the process ended while computing it.
    public var attempts: Int
    /// How often the process died while computing it, without handing it back.
    public var interruptions = 0
    public var remixedFrom: String?
    public var idempotencyKey: String?

    /// What no job made here can have: a file that was tampered with must not reach the arithmetic or the generator.
    var isPlausible: Bool {
        (0...100).contains(progress) && (0...1 << 30).contains(attempts) && (0...1 << 30).contains(interruptions)
            && sequence < 1 << 62 && request.isPlausible
    }

    public var isFinished: Bool { status == .completed || status == .failed }
}

/// Why a job failed; `code` is for programs: `cancelled`, `generation_failed`, `storage_full`, `interrupted`, …
public struct JobFailure: Sendable, Codable, Equatable {
    public var code: String
    public var message: String

    public init(code: String, message: String) {
        self.code = code
        self.message = message
    }
}

/// A job and what is true of it only right now.
public struct JobView: Sendable, Equatable {
    public var job: Job
    /// How many jobs run before it; 0 is next. `nil` unless queued.
    public var queuePosition: Int?
    /// Until it is finished, estimated from the steps measured so far; `nil` when nothing was measured yet.
    public var etaMilliseconds: Int?

    public init(job: Job, queuePosition: Int?, etaMilliseconds: Int?) {
        self.job = job
        self.queuePosition = queuePosition
        self.etaMilliseconds = etaMilliseconds
    }
}

/// Who asks. Jobs belong to a uid; administrators see all.
public struct Peer: Sendable, Equatable {
    public var uid: UInt32
    public var isAdministrator: Bool

    public init(uid: UInt32, isAdministrator: Bool) {
        self.uid = uid
        self.isAdministrator = isAdministrator
    }
}

/// What the queue and the store are bounded by.
public struct JobLimits: Sendable, Equatable {
    /// Jobs waiting, of all owners.
    public var queueLength = 32
    /// Jobs waiting, of one owner.
    public var perOwnerQueued = 32
    /// Bytes of the store; the oldest finished jobs make room, and a video larger than this fails.
    public var storeBytes: Int64 = 2 << 30
    /// Finished jobs in the store.
    public var finishedJobs = 10_000
    /// Seconds a finished job is kept; `nil` keeps it until room is needed. Only time that the daemon runs counts, taken from
    /// a clock that nobody can set: a board whose date jumps loses nothing, one that is often off keeps things longer.
    public var retentionSeconds: Int64?
    /// Bytes of the file system that are never used up.
    public var reserveBytes: Int64 = 32 << 20
    /// Times that the process may die of a job before the job is given up. High, as what kills the process is far more often
    /// the power switch than the job.
    public var interruptions = 1000
    /// Events kept of one job, for slow clients and those who come back with `Last-Event-ID`.
    public var eventBacklog = 512
    /// Bytes of previews among these; the newest is kept whatever its size.
    public var previewBacklogBytes = 64 << 10
    /// Ended jobs whose events are kept for late clients, within the same bytes together.
    public var endedLogs = 8
    /// Clients that may watch one job.
    public var subscribers = 256

    /// Bytes of an idempotency key.
    public static let idempotencyKeyBytes = 255

    public init() {}
}

public enum JobError: Error, Sendable, Equatable {
    /// No such job, or another owner's.
    case notFound
    /// Seconds after which to try again.
    case queueFull(retryAfter: Int)
    case quotaExceeded(retryAfter: Int)
    case wrongState(Job.Status, wanted: String)
    case storageFull(freeBytes: Int64)
    case storage(String)
    case invalid(RequestError)
    case unavailable(String)
    /// The key was used for another request.
    case idempotencyConflict
    case stopping
}

/// What the journal is told.
public struct JobLogEvent: Sendable, Equatable {
    public enum Level: Sendable { case info, warning, error }
    public var level: Level
    public var message: String
    public var job: String?
    public var owner: UInt32?
    public var milliseconds: Int?

    public init(_ level: Level, _ message: String, job: Job? = nil) {
        self.level = level
        self.message = message
        self.job = job?.id
        owner = job?.owner
        milliseconds = job?.computeMilliseconds
    }
}

/// Counts for /metrics and /state.
public struct JobStatistics: Sendable, Equatable {
    public var queued = 0
    public var running: String?
    public var finished = 0
    /// Since the process started.
    public var completed = 0
    public var failed = 0
    public var computeMilliseconds = 0
    public var storeBytes: Int64 = 0
    public var freeBytes: Int64 = 0
    public var watchers = 0
}
