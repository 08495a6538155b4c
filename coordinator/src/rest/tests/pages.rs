use serde_json::json;

use super::*;

/// Sends a request with these headers, and returns its status.
async fn status(cluster: &Cluster, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = cluster.http.request(method, cluster.url(0, path)).timeout(PATIENCE);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if !headers.is_empty() {
        request = request.json(&json!({"name": "t", "partitions": 1}));
    }
    read(request.send().await.unwrap()).await
}

#[tokio::test]
async fn page_whose_name_was_bent_to_loopback_gets_nothing() {
    let cluster = Cluster::start(1).await;
    let port = cluster.nodes[0].http_endpoint().unwrap().port;
    let bent = format!("evil.example:{port}");
    let as_own = format!("http://{bent}");
    for (method, path) in [
        (Method::POST, "/v1/topics"),
        (Method::GET, "/v1/topics"),
        (Method::GET, "/metrics"),
        (Method::GET, "/nowhere"),
    ] {
        let headers = [("host", bent.as_str()), ("origin", as_own.as_str())];
        let answer = status(&cluster, method, path, &headers).await;
        answer.assert_problem(403, None);
        assert!(answer.detail().contains("evil.example"), "{answer:?}");
    }
    assert_eq!(cluster.get("/v1/topics/t").await.status, 404);
    cluster.stop().await;
}

#[tokio::test]
async fn page_of_another_origin_changes_nothing() {
    let cluster = Cluster::start(1).await;
    let port = cluster.nodes[0].http_endpoint().unwrap().port;
    for origin in ["https://evil.example", "http://localhost:3000", "null"] {
        let answer = status(&cluster, Method::POST, "/v1/topics", &[("origin", origin)]).await;
        answer.assert_problem(403, None);
        let answer = status(&cluster, Method::DELETE, "/v1/topics/t", &[("origin", origin)]).await;
        answer.assert_problem(403, None);
    }
    assert_eq!(cluster.get("/v1/topics/t").await.status, 404);
    // A page that the API itself were to serve is of its own origin.
    let own = format!("localhost:{port}");
    let headers = [("host", own.as_str()), ("origin", &format!("http://{own}"))];
    assert_eq!(status(&cluster, Method::POST, "/v1/topics", &headers).await.status, 201);
    cluster.stop().await;
}

#[tokio::test]
async fn advertised_host_is_one_of_the_apis_names() {
    let store = Arc::new(EmbeddedStore::in_memory(1));
    let mut config = Config::new(1);
    config.http_advertised =
        Some(ottla_metadata::model::Endpoint { host: "admin.example".to_owned(), port: 80 });
    let node = Coordinator::start(config, store).await.unwrap();
    let url = format!("http://{}/health", node.http_endpoint().unwrap());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = async |host: &str| {
        http.get(&url).header("host", host).send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask("admin.example").await, 200);
    assert_eq!(ask("other.example").await, 403);
    node.stop(PATIENCE).await;
}
