import Glibc
import Testing
import Video

@testable import Jobs

/// Pictures that come with a request are kept as the job is.
@Suite struct MaterialTests {
    let picture = Frame(
        size: FakeGenerator.size, pixels: (0..<FakeGenerator.size.pixels * 3).map { UInt8(truncatingIfNeeded: $0) })

    func parameters(_ references: [Reference]) -> VideoParameters {
        var parameters = VideoParameters(prompt: "a circle")
        parameters.references = references
        parameters.seed = 5
        return parameters
    }

    @Test func areThereAfterThePowerWasCut() async throws {
        let harness = Harness()
        let before = try await harness.open(FakeGenerator(), start: false)
        let material = VideoMaterial(pictures: [.first: picture, .last: FakeGenerator.frame(3, 3)])
        let job = try await before.submit(
            parameters([.first, .last]), material: material, peer: alice, idempotencyKey: nil)
        // The process is gone without a word.
        await before.stop()
        let generator = FakeGenerator()
        let after = try await harness.open(generator)
        let finished = try await after.finished(job.id)
        #expect(finished.status == .completed)
        #expect(generator.behaviour.withLock { $0.materials } == [material])
        await after.stop()
    }

    @Test func thatACameraTookOneIsKept() async throws {
        let harness = Harness()
        let before = try await harness.open(FakeGenerator(), start: false)
        let material = VideoMaterial(pictures: [.first: picture])
        var ids: [String: Bool?] = [:]
        for (camera, wanted) in [(nil, nil), (.now, true), (.before, true)] as [(VideoParameters.CameraUse?, Bool?)] {
            var parameters = parameters([.first])
            parameters.camera = camera
            let job = try await before.submit(parameters, material: material, peer: alice, idempotencyKey: nil)
            ids[job.id] = .some(wanted)
        }
        await before.stop()
        let after = try await harness.open(FakeGenerator(), start: false)
        for (id, wanted) in ids { #expect(try await after.job(id, peer: alice).job.request.camera == wanted) }
        await after.stop()
    }

    /// A second picture is another one; the request is the same.
    @Test func aPictureThatWasTakenIsNotTakenAgain() async throws {
        let harness = Harness()
        var limits = JobLimits()
        limits.queueLength = 2
        let queue = try await harness.open(FakeGenerator(), limits: limits, start: false)
        let rest = VideoMaterial(pictures: [.last: picture])
        var parameters = parameters([.first, .last])
        parameters.camera = .now
        #expect(try await queue.prepare(parameters, material: rest, peer: alice, idempotencyKey: "a") == nil)
        func submit(_ grey: UInt8, key: String?) async throws -> String {
            var material = rest
            material.pictures[.first] = FakeGenerator.frame(UInt64(grey), 1)
            return try await queue.submit(parameters, material: material, peer: alice, idempotencyKey: key).id
        }
        let first = try await submit(3, key: "a")
        #expect(try await queue.prepare(parameters, material: rest, peer: alice, idempotencyKey: "a")?.id == first)
        #expect(try await submit(9, key: "a") == first)
        await expectError({ $0 == .idempotencyConflict }) {
            let other = VideoMaterial(pictures: [.last: FakeGenerator.frame(9, 9)])
            _ = try await queue.prepare(parameters, material: other, peer: alice, idempotencyKey: "a")
        }
        _ = try await submit(5, key: nil)
        await expectError({ if case .queueFull = $0 { true } else { false } }) {
            _ = try await queue.prepare(parameters, material: rest, peer: alice, idempotencyKey: nil)
        }
        await queue.stop()
    }

    /// Whatever operation the power fails before: the job is there whole, or it was never accepted.
    @Test func acceptanceIsAllOrNothing() async throws {
        let counter = Harness()
        let counted = try await counter.open(FakeGenerator(), start: false)
        counter.faults.set(.none)
        let material = VideoMaterial(pictures: [.first: picture])
        _ = try await counted.submit(parameters([.first]), material: material, peer: alice, idempotencyKey: nil)
        let operations = counter.faults.count
        #expect(operations > 10)
        await counted.stop()
        for at in 0..<operations {
            let harness = Harness()
            let queue = try await harness.open(FakeGenerator(), start: false)
            harness.faults.set(.powerCut(at: at))
            let accepted = try? await queue.submit(
                parameters([.first]), material: material, peer: alice, idempotencyKey: nil)
            await queue.stop()
            harness.faults.set(.none)
            let generator = FakeGenerator()
            let again = try await harness.open(generator)
            if let accepted {
                #expect(try await again.finished(accepted.id).status == .completed, "cut before operation \(at)")
                #expect(generator.behaviour.withLock { $0.materials } == [material])
            } else {
                for view in try await again.list(peer: root, limit: 9, after: nil, ascending: true).jobs {
                    try await again.finished(view.job.id)
                }
                #expect(generator.behaviour.withLock { $0.materials.allSatisfy { $0 == material } })
            }
            #expect(harness.names(in: "quarantine").isEmpty, "cut before operation \(at)")
            await again.stop()
        }
    }

    @Test func mustBeWhatTheRequestNeeds() async throws {
        let harness = Harness()
        let queue = try await harness.open(FakeGenerator())
        let other = Frame(size: try #require(Size(width: 2, height: 1)), pixels: [1, 2, 3, 4, 5, 6])
        for (references, material) in [
            ([.first], [:]), ([], [.first: picture]), ([.first], [.last: picture]), ([.first], [.first: other]),
        ] as [([Reference], [Reference: Frame])] {
            await expectError({ if case .invalid(let error) = $0 { error.kind == .invalid } else { false } }) {
                _ = try await queue.submit(
                    parameters(references), material: VideoMaterial(pictures: material), peer: alice,
                    idempotencyKey: nil)
            }
        }
        #expect(harness.names(in: "jobs").isEmpty)
        await queue.stop()
    }

    @Test func aKeyKnowsPicturesApart() async throws {
        let harness = Harness()
        let queue = try await harness.open(FakeGenerator())
        let one = VideoMaterial(pictures: [.first: picture])
        let two = VideoMaterial(pictures: [.first: FakeGenerator.frame(1, 1)])
        let first = try await queue.submit(parameters([.first]), material: one, peer: alice, idempotencyKey: "k")
        let again = try await queue.submit(parameters([.first]), material: one, peer: alice, idempotencyKey: "k")
        #expect(first.id == again.id)
        await expectError({ $0 == .idempotencyConflict }) {
            _ = try await queue.submit(parameters([.first]), material: two, peer: alice, idempotencyKey: "k")
        }
        await queue.stop()
    }

    @Test func whatIsDamagedFailsItsJobAlone() async throws {
        let harness = Harness()
        let queue = try await harness.open(FakeGenerator(), start: false)
        let material = VideoMaterial(pictures: [.first: picture])
        let job = try await queue.submit(parameters([.first]), material: material, peer: alice, idempotencyKey: nil)
        let lost = try await queue.submit(parameters([.first]), material: material, peer: alice, idempotencyKey: nil)
        await queue.stop()
        try harness.write([1, 2, 3], to: "jobs/\(job.id)/input_reference.rgb")
        unlink(harness.path("jobs/\(lost.id)/input_reference.rgb"))
        let again = try await harness.open(FakeGenerator())
        #expect(try await again.finished(job.id).error?.code == "storage_error")
        #expect(harness.names(in: "quarantine") == [lost.id])
        await again.stop()
    }
}
