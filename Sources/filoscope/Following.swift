import ArgumentParser
import Client
import FoundationEssentials
import Glibc

/// Follows a video to its end: a progress bar, previews into a folder, patience while the daemon restarts.
struct Following {
    var daemon: Daemon
    var quiet: Bool
    var previewDirectory: String?
    var screen: Screen?

    /// How long a daemon that went away may take to come back, in seconds.
    static let patience = 60

    func follow(_ id: String) throws -> Video {
        let bar = ProgressBar(shown: !quiet)
        // A short video may be made before this asks, and every preview is wanted.
        var last = previewDirectory == nil && screen == nil ? nil : "0"
        var failures = 0
        while true {
            do {
                last = try daemon.events(of: id, after: last) { event in
                    failures = 0
                    return try take(event, id: id, bar: bar)
                }
                let video = try daemon.video(id)
                if video.isFinished {
                    bar.end()
                    return video
                }
            } catch let error as ClientError {
                if case .refused = error { throw error }
                guard failures < Self.patience else { throw error }
            }
            // The daemon is restarting, or the stream ended early: the job is safe with it, so ask again.
            failures += 1
            sleep(1)
        }
    }

    /// `false` at the event that ends the video.
    private func take(_ event: ServerEvent, id: String, bar: ProgressBar) throws -> Bool {
        switch event.name {
        case "video.completed", "video.failed":
            return false
        case "video.progress":
            if let progress = decode(event) { bar.show(progress) }
        case "video.preview":
            guard previewDirectory != nil || screen != nil, let progress = decode(event),
                let text = progress.b64_jpeg, let jpeg = Data(base64Encoded: text), let step = progress.step
            else { break }
            try screen?.show(Array(jpeg))
            guard let previewDirectory else { break }
            let number = String(step)
            let name = "\(id)-step-\(String(repeating: "0", count: max(0, 3 - number.count)))\(number).jpg"
            try write(Array(jpeg), to: "\(previewDirectory)/\(name)")
        default:
            break
        }
        return true
    }

    private func decode(_ event: ServerEvent) -> Progress? {
        try? JSONDecoder().decode(Progress.self, from: Data(event.data.utf8))
    }
}

/// One line that is redrawn on a terminal; elsewhere a line per step.
final class ProgressBar {
    private let shown: Bool
    private let terminal = isatty(STDERR_FILENO) == 1
    private var newest = -1

    init(shown: Bool) { self.shown = shown }

    func show(_ progress: Progress) {
        guard shown, let step = progress.step, let steps = progress.steps, steps > 0, step != newest else { return }
        newest = step
        let left = progress.eta_ms.map { ", \(($0 + 999) / 1000) s left" } ?? ""
        guard terminal else {
            say("step \(step)/\(steps)\(left)")
            return
        }
        let width = 30
        let done = min(width, step * width / steps)
        let bar = String(repeating: "█", count: done) + String(repeating: "░", count: width - done)
        _ = writeAll(Array("\r\u{1B}[K\(bar) step \(step)/\(steps)\(left)".utf8), to: STDERR_FILENO)
    }

    func end() {
        if shown, terminal, newest >= 0 { say("") }
    }
}
